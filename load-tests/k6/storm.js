// A storm of sign-ins and refreshes: more than the node can hash. Who is signed in does not notice; who signs in is served
// or told when to come again; no refresh is lost.

import { acme, arrivals, get, hosts, login, post, postponed, right, signIn, unlimited, user } from './world.js';

const member = user(acme, 'member');
const host = acme.hostname;

export const options = {
  hosts,
  scenarios: {
    logins: arrivals('logins', Number(__ENV.LOGINS || 60), 60),
    refreshes: { executor: 'constant-vus', exec: 'refreshes', vus: 10, duration: __ENV.DURATION || '30s' },
    calls: arrivals('calls', 50, 20),
  },
  thresholds: {
    checks: ['rate==1'],
    // Signing in waits for its turn; nothing else waits for signing in.
    'http_req_duration{kind:refresh}': ['p(95)<1000'],
    'http_req_duration{kind:call}': ['p(95)<250'],
  },
};

export function setup() {
  unlimited('acme');
  return signIn(host, member);
}

export function logins() {
  const answer = login(host, member);
  right(answer, 'a sign-in is served or postponed', (r) => r.status === 200 || postponed(r));
}

// Each virtual user's own session.
let tokens;

export function refreshes() {
  tokens = tokens || signIn(host, member);
  const answer = post('refresh', host, '/api/v1/tenant/auth/refresh', { refresh_token: tokens.refresh });
  if (right(answer, 'a refresh is served or postponed', (r) => r.status === 200 || postponed(r)) && answer.status === 200) {
    tokens = { access: answer.json('access_token'), refresh: answer.json('refresh_token') };
    right(get('call', host, '/demo/me', tokens.access), 'a refreshed token is good', (r) => r.status === 200);
  }
}

export function calls(shared) {
  right(get('call', host, '/demo/orders', shared.access), 'a call is served', (r) => r.status === 200);
}
