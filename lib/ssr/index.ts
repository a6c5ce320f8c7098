/**
 * Sessions in programs that render pages, such as Next.js, Nuxt, SvelteKit and React Router: they call the API with the cookies
 * of a page's request, and hand renewed cookies back to the browser. Needs neither Nest nor Node.
 */
export { type ForwardedSession, type ForwardOptions, forwardSession } from './forward-session.js';
export type { PageHeaders } from './page-headers.js';
export { ForwardError, type ForwardErrorCode } from './forward-error.js';
