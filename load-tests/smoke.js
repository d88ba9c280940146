// Does the edge stay right while it is busy? Logs in as acme's member, calls through the gateway, and checks what the
// echo upstream received and what was refused. One wrong answer fails the run.
//
// READY: file with the JSON line of `portcullis dev --print-json`.

import { check } from 'k6';
import http from 'k6/http';

const ready = JSON.parse(open(__ENV.READY));
const acme = ready.tenants.find((tenant) => tenant.slug === 'acme');
const globex = ready.tenants.find((tenant) => tenant.slug === 'globex');
const member = acme.users.find((user) => user.role === 'member');
const [address, port] = ready.edge_https.split(/:(?=\d+$)/);

export const options = {
  // Names under .localhost are not in DNS.
  hosts: { [acme.hostname]: address, [globex.hostname]: address },
  scenarios: {
    // Six requests each: the default of 10 a second stays below every rate limit (200 a second and tenant).
    edge: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 10),
      timeUnit: '1s',
      duration: __ENV.DURATION || '15s',
      preAllocatedVUs: 20,
      maxVUs: 100,
    },
  },
  thresholds: { checks: ['rate==1'] },
};

const url = (tenant, path) => `https://${tenant.hostname}:${port}${path}`;
const json = { 'Content-Type': 'application/json' };

export function setup() {
  const body = JSON.stringify({ username: member.username, password: member.password });
  const answer = http.post(url(acme, '/api/v1/tenant/auth/login'), body, { headers: json });
  const right = check(answer, {
    'login answers 200': (r) => r.status === 200,
    'login gives a bearer token': (r) => r.json('token_type') === 'Bearer' && r.json('access_token') !== undefined,
  });
  if (!right) {
    throw new Error(`login: ${answer.status} ${answer.body}`);
  }
  return { token: answer.json('access_token') };
}

export default function ({ token }) {
  const bearer = { Authorization: `Bearer ${token}` };
  const get = (tenant, path, headers) => http.get(url(tenant, path), { headers: headers || {} });
  const denied = (r, code) => r.status >= 400 && r.json('code') === code && r.json('request_id') !== undefined;

  const forged = {
    ...bearer,
    'X-MD-Global-User-Id': 'forged',
    'x-md-global-is-super-admin': 'true',
    'X-Md-Global-Made-Up': 'forged',
  };
  const me = get(acme, '/demo/me', forged);
  const seen = me.status === 200 ? me.json('headers') : {};
  check(me, {
    'me answers 200': (r) => r.status === 200,
    'the upstream sees one user id, ours': () => (seen['x-md-global-user-id'] || []).length === 1 && !String(seen['x-md-global-user-id']).includes('forged'),
    'the upstream sees the tenant': () => String(seen['x-md-global-tenant-id']) === acme.id,
    'nobody becomes super admin by a header': () => !String(seen['x-md-global-is-super-admin']).includes('true'),
    'unknown x-md-global headers are stripped': () => me.status === 200 && seen['x-md-global-made-up'] === undefined,
    'the token is not forwarded': () => me.status === 200 && seen.authorization === undefined,
  });

  check(get(acme, '/demo/me', { ...bearer, x_md_global_user_id: 'forged' }), {
    'an alias of a trusted header is refused': (r) => r.status === 400,
  });
  check(get(acme, '/demo/orders', bearer), { 'the member lists orders': (r) => r.status === 200 });
  check(http.post(url(acme, '/demo/orders'), '{}', { headers: { ...bearer, ...json } }), {
    'the member creates no order': (r) => denied(r, 'permission_denied') && r.status === 403,
  });
  check(get(globex, '/demo/me', bearer), {
    "acme's token is unknown at globex": (r) => denied(r, 'issuer_unknown') && r.status === 401,
  });
  check(get(acme, '/demo/me'), {
    'no credential is 401': (r) => denied(r, 'credential_missing') && r.status === 401,
  });
}

export function teardown({ token }) {
  const headers = { Authorization: `Bearer ${token}`, ...json };
  const logout = http.post(url(acme, '/api/v1/tenant/auth/logout'), null, { headers });
  check(logout, { 'logout answers 2xx': (r) => r.status >= 200 && r.status < 300 });
  const after = http.get(url(acme, '/demo/me'), { headers });
  check(after, { 'the token is refused on the next request': (r) => r.status === 401 });
}
