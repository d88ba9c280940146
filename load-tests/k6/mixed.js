// Steady traffic of fifty tenants: reads, refusals, refreshes. Each answer is its own tenant's, however they interleave.

import { admin, arrivals, get, hostname, hosts, post, refused, right, signIn, slugs, staff } from './world.js';

export const options = {
  hosts,
  setupTimeout: '5m',
  scenarios: { traffic: arrivals('traffic', Number(__ENV.RATE || 100), 50) },
  thresholds: {
    checks: ['rate==1'],
    'http_req_duration{kind:read}': ['p(95)<100', 'p(99)<250'],
  },
};

// The one item of a list.
function one(token, path, is) {
  const found = admin(token, 'GET', path).items.find(is);
  if (!found) {
    throw new Error(`${path}: none`);
  }
  return found;
}

// The demo's services at each tenant's hostname, and a user in each, with the role that reads.
export function setup() {
  const token = staff();
  const services = ['demo', 'identity'].map((name) => one(token, '/v1/services?limit=100', (service) => service.name === name).id);
  const password = `Aa1!-${Math.random().toString(36).slice(2)}-${Date.now()}`;
  return slugs.map((slug) => {
    const tenant = admin(token, 'GET', `/v1/tenants/by-slug/${slug}`);
    const host = one(token, `/v1/hostnames?tenant_id=${tenant.id}`, (each) => each.hostname === hostname(slug));
    admin(token, 'PATCH', `/v1/hostnames/${host.id}?wait=applied`, { services });
    const reader = one(token, `/v1/roles?tenant_id=${tenant.id}&limit=100`, (role) => role.name === 'reader');
    const username = `k6-${Date.now()}`;
    admin(token, 'POST', `/v1/tenants/${tenant.id}/users`, { username, password, role_ids: [reader.id] });
    return { id: tenant.id, host: hostname(slug), ...signIn(hostname(slug), { username, password }) };
  });
}

// A virtual user refreshes the session of one tenant only: a refresh token is used once.
const own = {};

export function traffic(tenants) {
  const n = Math.floor(Math.random() * tenants.length);
  const { id, host, access } = tenants[n];
  const turn = Math.random();
  if (turn < 0.7) {
    right(get('read', host, '/demo/orders', access), 'a reader reads', (r) => r.status === 200);
  } else if (turn < 0.85) {
    const answer = get('read', host, '/demo/me', access);
    const seen = (r) => r.status === 200 && String(r.json('headers')['x-md-global-tenant-id']) === id;
    right(answer, "the upstream sees the caller's tenant", seen);
  } else if (turn < 0.9) {
    const other = tenants[(n + 1) % tenants.length];
    const answer = get('refused', other.host, '/demo/orders', access);
    right(answer, "another tenant's token is refused", (r) => refused(r, 403, 'tenant_mismatch'));
  } else if (turn < 0.95) {
    const answer = post('refused', host, '/demo/orders', {}, access);
    right(answer, 'a reader writes nothing', (r) => refused(r, 403, 'permission_denied'));
  } else if (turn < 0.98) {
    right(get('refused', host, '/demo/orders'), 'nobody is refused', (r) => refused(r, 401, 'credential_missing'));
  } else if (__VU <= tenants.length) {
    const mine = tenants[__VU - 1];
    const answer = post('refresh', mine.host, '/api/v1/tenant/auth/refresh', { refresh_token: own.refresh || mine.refresh });
    if (right(answer, 'a session is refreshed', (r) => r.status === 200)) {
      own.refresh = answer.json('refresh_token');
    }
  }
}
