// A tenant asks for a hundred times its share. It is told 429; the tenant beside it does not notice. `make noisy-neighbour`
// measures by how much, in every way there is; this is for whoever wants to see it with a tool of their own.

import { acme, arrivals, get, globex, hosts, postponed, right, signIn, user } from './world.js';

export const options = {
  hosts,
  scenarios: {
    quiet: arrivals('quiet', 20, 20),
    noisy: arrivals('noisy', Number(__ENV.RATE || 1000), 100),
  },
  thresholds: {
    checks: ['rate==1'],
    'http_req_duration{kind:quiet}': ['p(99)<250'],
    'http_reqs{kind:noisy}': ['count>0'],
  },
};

export function setup() {
  const access = (tenant) => signIn(tenant.hostname, user(tenant, 'member')).access;
  return { quiet: access(acme), noisy: access(globex) };
}

export function quiet(tokens) {
  right(get('quiet', acme.hostname, '/demo/orders', tokens.quiet), 'the quiet tenant is served', (r) => r.status === 200);
}

export function noisy(tokens) {
  const answer = get('noisy', globex.hostname, '/demo/orders', tokens.noisy);
  right(answer, 'the noisy tenant is served or told to wait', (r) => r.status === 200 || postponed(r));
}
