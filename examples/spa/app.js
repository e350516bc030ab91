// A single-page app: code + PKCE without a secret, with oidc-client-ts and documented settings only.
const { issuer } = await (await fetch('/config.json')).json();
const users = new oidc.UserManager({
  authority: issuer,
  client_id: 'my.trusted.app/spa',
  redirect_uri: 'http://localhost:3000/index.html',
  post_logout_redirect_uri: 'http://localhost:3000/',
  scope: 'openid profile read',
  loadUserInfo: true,
  automaticSilentRenew: false,
});

const at = (id) => document.getElementById(id);
at('sign-in').onclick = () => users.signinRedirect();
at('sign-out').onclick = () => users.signoutRedirect();

/** Finishes a sign-in if the address bar carries one, and takes the code out of the history. */
async function finishSignIn() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has('code') && !answer.has('error')) return;
  try {
    await users.signinCallback();
  } finally {
    history.replaceState(null, '', location.pathname);
  }
}

async function showCustomers(user) {
  const root = issuer.replace(/\/id$/, '');
  const answer = await fetch(`${root}/api/domain/odata/Crm_Customers?$top=10`, {
    headers: { authorization: `Bearer ${user.access_token}` },
  });
  if (!answer.ok) throw new Error(`the API answered ${answer.status}`);
  for (const customer of (await answer.json()).value) {
    at('customers').append(Object.assign(document.createElement('li'), { textContent: customer['@odata.id'] }));
  }
}

try {
  await finishSignIn();
  const user = await users.getUser();
  at('sign-in').hidden = Boolean(user);
  at('sign-out').hidden = !user;
  if (user) await showCustomers(user);
  at('status').textContent = user ? `Hello ${user.profile.name}` : 'Nobody is signed in.';
} catch (refusal) {
  at('sign-in').hidden = false;
  at('status').textContent = `Not signed in: ${refusal.error ?? refusal.message}`;
}
