// Registers a passkey in a Chromium with a virtual authenticator (the WebAuthn domain of the DevTools protocol) and signs in with it;
// then tries what a page of another hostname could. Prints what came of it as one line of JSON.
//
//   node passkeys.mjs '{"base": "https://acme.localhost:8443", "other": "https://globex.localhost:8443", "page": "/demo/public/page",
//                       "username": "…", "password": "…", "chromium": "/usr/bin/chromium"}'
import { chromium } from "playwright-core";

const asked = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: asked.chromium,
  // The certificates are of an authority of this start alone.
  args: ["--no-sandbox", "--ignore-certificate-errors", "--disable-dev-shm-usage"],
});
try {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true,
    },
  });

  await page.goto(asked.base + asked.page);
  const registered = await page.evaluate(async ({ username, password }) => {
    const post = async (path, body, token) => {
      const headers = { "content-type": "application/json" };
      if (token) headers.authorization = `Bearer ${token}`;
      const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
      return { status: answer.status, body: await answer.json() };
    };
    const session = await post("/api/v1/tenant/auth/login", { username, password });
    const token = session.body.access_token;
    const begun = await post("/v1/auth/passkeys/register/begin", {}, token);
    const options = PublicKeyCredential.parseCreationOptionsFromJSON(begun.body.options);
    const made = await navigator.credentials.create({ publicKey: options });
    const body = { challenge_id: begun.body.challenge_id, name: "chromium", credential: made.toJSON() };
    return post("/v1/auth/passkeys/register/complete", body, token);
  }, asked);

  // Signs in as a page that loads anew would: it knows nobody.
  const signIn = async (timeout) => page.evaluate(async (timeout) => {
    const post = async (path, body) => {
      const headers = { "content-type": "application/json" };
      const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
      return { status: answer.status, body: await answer.json() };
    };
    const begun = await post("/v1/auth/passkeys/login/begin", {});
    const options = PublicKeyCredential.parseRequestOptionsFromJSON(begun.body.options);
    if (timeout) options.timeout = timeout;
    const signed = await navigator.credentials.get({ publicKey: options });
    return post("/v1/auth/passkeys/login/complete", { challenge_id: begun.body.challenge_id, credential: signed.toJSON() });
  }, timeout);
  await page.reload();
  const first = await signIn();
  const second = await signIn();
  const { credentials } = await devtools.send("WebAuthn.getCredentials", { authenticatorId });
  // An authenticator that does not know its user: the browser itself gives up, as two factors are asked for.
  await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  const unverified = await signIn(2000).then(() => "signed in", (error) => String(error.message));
  await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });

  // A page of another hostname asks for the passkey of this one.
  await page.goto(asked.other + asked.page);
  const elsewhere = await page.evaluate(async (rpId) => {
    const publicKey = { challenge: new Uint8Array(32), rpId, userVerification: "required", timeout: 2000 };
    return navigator.credentials.get({ publicKey }).then(() => "signed", (error) => error.name);
  }, new URL(asked.base).hostname);

  console.log(JSON.stringify({
    registered, first, second, unverified, elsewhere,
    credentials: credentials.map((it) => ({ rpId: it.rpId, resident: it.isResidentCredential, count: it.signCount })),
  }));
} finally {
  await browser.close();
}
