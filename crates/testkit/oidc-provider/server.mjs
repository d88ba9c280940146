// A real OpenID provider on loopback, for tests. It asks nobody: who signs in is named by the cookie `person`.
// Prints `PORT n` when it listens, and ends with its standard input.
import http from 'node:http';
import Provider from 'oidc-provider';

const settings = JSON.parse(process.argv[2]);

const server = http.createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: settings.client_id,
        client_secret: settings.client_secret,
        redirect_uris: settings.redirect_uris,
        grant_types: ['authorization_code'],
        response_types: ['code'],
      },
    ],
    // Claims of scopes are in the ID token, as the large providers have it.
    conformIdTokenClaims: false,
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['given_name', 'family_name'] },
    cookies: { keys: ['only for tests'] },
    features: { devInteractions: { enabled: false } },
    pkce: { methods: ['S256'], required: () => true },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, ...settings.people[id] }),
    }),
    ttl: { Interaction: 600, Session: 600, Grant: 600, AccessToken: 60, IdToken: 300 },
  });

  const named = (request) => /(?:^|;\s*)person=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1];

  const interact = async (request, response) => {
    const { prompt, params, session } = await provider.interactionDetails(request, response);
    const person = named(request);
    if (!person || person === 'nobody') {
      const result = { error: 'access_denied', error_description: 'the person said no' };
      return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
    }
    if (prompt.name === 'login') {
      const result = { login: { accountId: person } };
      return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
    }
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    const grantId = await grant.save();
    return provider.interactionFinished(request, response, { consent: { grantId } }, { mergeWithLastSubmission: true });
  };

  const serve = provider.callback();
  server.on('request', (request, response) => {
    if (!request.url.startsWith('/interaction/')) return serve(request, response);
    return interact(request, response).catch((error) => {
      console.error(error);
      response.statusCode = 500;
      response.end();
    });
  });
  console.log(`PORT ${server.address().port}`);
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
