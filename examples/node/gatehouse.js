// Everything a Node.js application needs to sign people in, or itself, with openid-client.
import * as oidc from 'openid-client';

export const REDIRECT_URI = 'http://localhost:3000/signin-callback';

/** Reads the server's discovery document. Plain http is for the demo on this machine only. */
export function discover(issuer, clientId, clientSecret) {
  const options = issuer.startsWith('http://localhost') ? { execute: [oidc.allowInsecureRequests] } : {};
  return oidc.discovery(new URL(issuer), clientId, clientSecret, undefined, options);
}

/** Where to send the browser, and what to keep (in its session) until it comes back. */
export async function beginSignIn(config, more = {}) {
  const kept = {
    pkceCodeVerifier: oidc.randomPKCECodeVerifier(),
    expectedState: oidc.randomState(),
    expectedNonce: oidc.randomNonce(),
  };
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: REDIRECT_URI,
    scope: 'openid profile offline_access read',
    code_challenge: await oidc.calculatePKCECodeChallenge(kept.pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: kept.expectedState,
    nonce: kept.expectedNonce,
    ...more,
  });
  return { url, kept };
}

/** Exchanges the code; the library checks state, issuer, PKCE and the ID token. */
export async function finishSignIn(config, callbackUrl, kept) {
  const tokens = await oidc.authorizationCodeGrant(config, new URL(callbackUrl), {
    ...kept,
    idTokenExpected: true,
  });
  const person = await oidc.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
  return { tokens, person };
}

export const refresh = (config, refreshToken) => oidc.refreshTokenGrant(config, refreshToken);

export const serviceToken = (config) => oidc.clientCredentialsGrant(config, { scope: 'read' });

export const signOutUrl = (config, idToken) =>
  oidc.buildEndSessionUrl(config, {
    id_token_hint: idToken,
    post_logout_redirect_uri: 'http://localhost:3000/signed-out',
  });

/** The first customers, as whoever the token acts for. */
export async function firstCustomers(config, accessToken) {
  const root = config.serverMetadata().issuer.replace(/\/id$/, '');
  const url = new URL(`${root}/api/domain/odata/Crm_Customers?$top=10`);
  const answer = await oidc.fetchProtectedResource(config, accessToken, url, 'GET');
  return (await answer.json()).value;
}
