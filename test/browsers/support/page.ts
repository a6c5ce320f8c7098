import { createHash } from 'node:crypto';

/** An empty page with functions that the tests call. */
export const PAGE = `<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>page</title>
<body>page
<script>
  const load = (size) => '0123456789abcdef'.repeat(size / 16);
  const file = (size) => new File([load(size)], 'load', { type: 'application/octet-stream' });

  async function signIn(userId) {
    const body = JSON.stringify({ userId });
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch('login', { method: 'POST', headers, body });
    return answer.json();
  }

  /** Sends several requests at once. @returns their statuses; 0 for a request that failed */
  const statuses = (urls, init) =>
    Promise.all(urls.map((url, i) => fetch(url, init && init(i)).then(({ status }) => status, () => 0)));

  /** Repeats a failed request when the network is back. @returns whether it failed, and the last status */
  async function sendPatiently(url) {
    for (let hasFailed = false; ; hasFailed = true) {
      try {
        return [hasFailed, (await fetch(url)).status];
      } catch {
        await (navigator.onLine ? new Promise((resolve) => setTimeout(resolve, 50)) : once(window, 'online'));
      }
    }
  }

  /** Lets a service worker answer for the site from now on. */
  async function installServiceWorker(answers) {
    const { serviceWorker } = navigator;
    const takesOver = once(serviceWorker, 'controllerchange');
    await serviceWorker.register('/worker.js?answers=' + answers);
    await takesOver;
  }

  /** Waits for one of an element's events. */
  const once = (target, ...names) =>
    new Promise((resolve) => names.forEach((name) => target.addEventListener(name, resolve, { once: true })));

  /** Puts an element on the page, and waits until it has loaded. */
  async function insert(tag, attributes) {
    const element = document.createElement(tag);
    const loads = once(element, 'load', 'error');
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    document.body.append(element);
    return [(await loads).type, element];
  }

  /** Sends a form into a frame; gives what the frame shows then. */
  async function submit(attributes, fields) {
    const target = 'answer to ' + attributes.action;
    const [, frame] = await insert('iframe', { name: target });
    const form = document.createElement('form');
    for (const [name, value] of Object.entries({ method: 'post', target, ...attributes })) {
      form.setAttribute(name, value);
    }
    for (const [name, value] of Object.entries(fields)) {
      const input = document.createElement('input');
      input.name = name;
      if (value instanceof File) {
        input.type = 'file';
        const chosen = new DataTransfer();
        chosen.items.add(value);
        input.files = chosen.files;
      } else input.value = value;
      form.append(input);
    }
    document.body.append(form);
    const loads = once(frame, 'load');
    form.submit();
    await loads;
    return frame.contentDocument.body.textContent;
  }
</script>
`;

const serviceWorker = (answer: string): string => `
  addEventListener('install', () => skipWaiting());
  addEventListener('activate', (event) => event.waitUntil(clients.claim()));
  addEventListener('fetch', (event) => event.respondWith((${answer})(event.request)));
`;

export const SERVICE_WORKERS = {
  /** What most service workers do if their cache is empty. */
  passing: serviceWorker('(request) => fetch(request)'),
  /** Does not wait long, and sends the request again. */
  impatient: serviceWorker(`async (request) => {
    try {
      return await fetch(request.clone(), { signal: AbortSignal.timeout(300) });
    } catch {
      return fetch(request);
    }
  }`),
  /** Repeats a request without changes if its response was an error. */
  persistent: serviceWorker(`async (request) => {
    const answer = await fetch(request.clone());
    return answer.ok ? answer : fetch(request);
  }`),
};

/** The function `load` of the page. */
export function digestOfLoad(size: number): string {
  return digest(Buffer.from('0123456789abcdef'.repeat(size / 16)));
}

export function digest(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
