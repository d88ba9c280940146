// What the scenarios have in common: a node with demo data, and fifty tenants beside the demo's (scripts/k6.sh).
//
// READY: file with the JSON line of `portcullis dev --print-json`. TENANTS: how many there are beside the demo's.

import { check } from 'k6';
import http from 'k6/http';

export const ready = JSON.parse(open(__ENV.READY));
const [address, port] = ready.edge_https.split(/:(?=\d+$)/);
const demo = (slug) => ready.tenants.find((tenant) => tenant.slug === slug);
export const acme = demo('acme');
export const globex = demo('globex');

// The tenants that scripts/k6.sh applies.
const count = Number(__ENV.TENANTS || 50);
export const slugs = Array.from({ length: count }, (_, n) => `load-${String(n).padStart(2, '0')}`);
export const hostname = (slug) => `${slug}.load.example.test`;

const names = [acme.hostname, globex.hostname, ...slugs.map(hostname)];
// None of these names is in DNS.
export const hosts = Object.fromEntries(names.map((name) => [name, address]));

export const json = { 'Content-Type': 'application/json' };
export const url = (host, path) => `https://${host}:${port}${path}`;
export const bearer = (token) => ({ Authorization: `Bearer ${token}` });

// One name for each kind of request, so that its numbers stand in one line.
const tagged = (kind, headers) => ({ headers: headers || {}, tags: { name: kind, kind } });
export const get = (kind, host, path, token) => http.get(url(host, path), tagged(kind, token && bearer(token)));
export const post = (kind, host, path, body, token) =>
  http.post(url(host, path), JSON.stringify(body || {}), tagged(kind, { ...json, ...(token ? bearer(token) : {}) }));

// A sign-in through the edge.
export const login = (host, user) =>
  post('login', host, '/api/v1/tenant/auth/login', { username: user.username, password: user.password });

// The tokens of a sign-in that has to succeed.
export function signIn(host, user) {
  const answer = login(host, user);
  if (answer.status !== 200) {
    throw new Error(`login of ${user.username} at ${host}: ${answer.status} ${answer.body}`);
  }
  return { access: answer.json('access_token'), refresh: answer.json('refresh_token') };
}

export const user = (tenant, role) => tenant.users.find((one) => one.role === role);

// A call to the control API's `admin` listener that has to succeed.
export function admin(token, method, path, body) {
  const headers = { ...json, ...(token ? bearer(token) : {}) };
  const answer = http.request(method, `http://${ready.control_api}${path}`, body && JSON.stringify(body), {
    headers,
    tags: { name: 'setup', kind: 'setup' },
  });
  if (answer.status < 200 || answer.status > 299) {
    throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`);
  }
  return answer.body ? answer.json() : null;
}

export const staff = () => admin(null, 'POST', '/api/v1/auth/login', ready.platform_admin).access_token;

// Whether an answer is a refusal as docs/errors.md has it.
export const refused = (answer, status, code) => answer.status === status && answer.json('code') === code;

// What an overloaded node may say instead of serving: that it is overloaded, and until when.
export const postponed = (answer) =>
  (answer.status === 429 || answer.status === 503) && answer.headers['Retry-After'] !== undefined;

export const right = (answer, name, test) => check(answer, { [name]: test });

// Lets a tenant ask as often as it can: its limit is not what is measured.
export function unlimited(slug) {
  const token = staff();
  const tenant = admin(token, 'GET', `/v1/tenants/by-slug/${slug}`);
  const plenty = { rps: 1000000, burst: 1000000 };
  admin(token, 'PATCH', `/v1/tenants/${tenant.id}?wait=applied`, { rate_limit: plenty });
}

// Arrivals at a constant rate, whatever the answers take: an open model.
export const arrivals = (exec, rate, vus) => ({
  executor: 'constant-arrival-rate',
  exec,
  rate,
  timeUnit: '1s',
  duration: __ENV.DURATION || '30s',
  preAllocatedVUs: vus,
  maxVUs: vus * 4,
});
