import { getParser } from 'bowser';

/** What a client calls itself, in words that people know. */
export interface ClientNames {
  /** `Chrome`, `Safari`, or the name of an app. Without a version, because browsers update themselves after the sign-in. */
  readonly browser: string | null;
  /** The operating system: `Windows`, `iOS`. */
  readonly system: string | null;
}

const UNKNOWN: ClientNames = { browser: null, system: null };

/** The largest number of user agents whose names are remembered: one takes 10 µs to parse. */
const CACHE_SIZE = 1_000;
const cache = new Map<string, ClientNames>();

/** @param userAgent as it is stored, so of bounded length */
export function clientNames(userAgent: string | null): ClientNames {
  // The parser refuses an empty text.
  if (!userAgent) return UNKNOWN;
  let names = cache.get(userAgent);
  if (!names) {
    names = parse(userAgent);
    if (cache.size >= CACHE_SIZE) cache.delete(cache.keys().next().value!);
    cache.set(userAgent, names);
  }
  return names;
}

/** Names with a system in them, which stands beside them. */
const SHORTER: ReadonlyMap<string, string> = new Map([['Samsung Internet for Android', 'Samsung Internet']]);

/** Many browsers of other systems also say that they are like Safari. */
const SYSTEMS_WITH_SAFARI: ReadonlySet<string | null> = new Set(['macOS', 'iOS']);

/** The product at the start of a user agent (RFC 9110, 10.1.5): `MyApp/1.2 (iPhone; iOS 18)`, `curl/8.5.0`, `node`. */
const PRODUCT = /^([a-z\d][\w .+-]{0,39}?)\/|^([a-z\d][\w.+-]{0,39})$/i;

function parse(userAgent: string): ClientNames {
  const parser = getParser(userAgent, true);
  const system = parser.getOSName() || null;
  if (!userAgent.startsWith('Mozilla/')) {
    // Not a browser. The parser would guess one, such as the browser of the system.
    const [, product, alone] = PRODUCT.exec(userAgent) ?? [];
    return { browser: product ?? alone ?? null, system };
  }
  const browser = parser.getBrowserName();
  // Where the parser knows no browser, it gives the text before the last product.
  const isKnown =
    browser !== '' &&
    !browser.startsWith('Mozilla') &&
    (browser !== 'Safari' || SYSTEMS_WITH_SAFARI.has(system));
  return { browser: isKnown ? (SHORTER.get(browser) ?? browser) : null, system };
}
