/** What is signed in with; exactly 100 bytes of JSON. */
export const CLAIMS_100 = {
  role: 'editor',
  tenant: 'acme-corporation',
  plan: 'startup',
  locale: 'en-GB',
  features: ['audit'],
};

const { length } = JSON.stringify(CLAIMS_100);
if (length !== 100) throw new Error(`The claims have ${length} bytes.`);
