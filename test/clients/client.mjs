/** Sends requests with tough-cookie's jar and Node's fetch, and prints their statuses: client.mjs URL METHOD:PATH... */
import { CookieJar } from 'tough-cookie';

const [url, ...steps] = process.argv.slice(2);
const jar = new CookieJar();
const statuses = [];
for (const step of steps) {
  const [method, path] = step.split(':');
  const cookie = await jar.getCookieString(url + path);
  const response = await fetch(url + path, { method, headers: cookie === '' ? {} : { cookie } });
  for (const line of response.headers.getSetCookie()) await jar.setCookie(line, url + path);
  await response.body?.cancel();
  statuses.push(response.status);
}
console.log(...statuses);
