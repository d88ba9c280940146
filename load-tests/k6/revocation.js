// What was signed out is refused on the next request, however busy the edge is.

import { acme, arrivals, get, hosts, post, refused, right, signIn, unlimited, user } from './world.js';

const member = user(acme, 'member');
const host = acme.hostname;

export const options = {
  hosts,
  scenarios: {
    background: arrivals('background', Number(__ENV.RATE || 100), 30),
    sessions: { executor: 'constant-vus', exec: 'sessions', vus: 5, duration: __ENV.DURATION || '30s' },
  },
  thresholds: { checks: ['rate==1'] },
};

export function setup() {
  unlimited('acme');
  return signIn(host, member);
}

export function background({ access }) {
  right(get('read', host, '/demo/orders', access), 'who is signed in is served', (r) => r.status === 200);
}

export function sessions() {
  const { access, refresh } = signIn(host, member);
  right(get('read', host, '/demo/me', access), 'a new token is good', (r) => r.status === 200);
  const out = post('logout', host, '/api/v1/tenant/auth/logout', {}, access);
  // 200: no gateway accepts it any more (docs/sessions.md).
  right(out, 'signing out is in force with its answer', (r) => r.status === 200);
  const after = get('refused', host, '/demo/me', access);
  right(after, 'the token is refused on the next request', (r) => refused(r, 401, 'token_revoked'));
  const again = post('refused', host, '/api/v1/tenant/auth/refresh', { refresh_token: refresh });
  right(again, 'and its refresh token, too', (r) => r.status === 401);
}
