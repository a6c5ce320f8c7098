/** @type {import('../stage.mjs').Scenario[]} */
export const scenarios = [];
