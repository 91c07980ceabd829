// An OpenID Connect provider for the tests, on loopback: it enforces PKCE, and logs in whoever the test names.
// The first line it prints is its issuer. node server.mjs <redirect URI> <post-logout URI>
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [redirectUri, postLogoutUri] = process.argv.slice(2);
const people = {
  ana: { email: 'ana@example.org', email_verified: true, groups: ['stewards'], preferred_username: 'ana' },
  ben: { email: 'ben@example.org', email_verified: true, groups: ['engineers'], preferred_username: 'ben' },
};

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'secure-platform',
        token_endpoint_auth_method: 'none',
        redirect_uris: [redirectUri],
        post_logout_redirect_uris: [postLogoutUri],
        response_types: ['code'],
        grant_types: ['authorization_code'],
      },
    ],
    pkce: { required: () => true },
    conformIdTokenClaims: false,
    claims: {
      openid: ['sub', 'amr', 'auth_time'],
      email: ['email', 'email_verified'],
      profile: ['preferred_username'],
      groups: ['groups'],
    },
    scopes: ['openid', 'email', 'profile', 'groups'],
    cookies: { keys: ['only for tests'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
  });
  provider.on('server_error', (_, error) => console.error(error));
  server.on('request', async (request, response) => {
    const url = new URL(request.url, issuer);
    if (!url.pathname.startsWith('/interaction/')) return provider.callback()(request, response);
    // The page where a person would log in and agree: the test says who, and how, in the query.
    const { prompt, params, session } = await provider.interactionDetails(request, response);
    if (prompt.name === 'login') {
      const accountId = url.searchParams.get('person');
      if (!accountId) {
        response.setHeader('content-type', 'text/html');
        return response.end('<link rel="icon" href="data:,"><h1>Who are you?</h1>');
      }
      const login = { accountId, amr: (url.searchParams.get('amr') ?? '').split(' ').filter(Boolean) };
      return provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false });
    }
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    const consent = { grantId: await grant.save() };
    return provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
  });
  console.log(issuer);
});
