// examples/node (openid-client), as it stands, against the running server; Chromium is the person's browser.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { beginSignIn, discover, finishSignIn, firstCustomers, refresh, serviceToken, signOutUrl } from '../../examples/node/gatehouse.js';
import { backAt, ISSUER, launch, signIn } from '../browser/chromium.js';

const FIRST = ['my.trusted.app/first', 'first-secret'];
const SERVICE = ['my.trusted.app/service', 'service-secret'];

let chromium;
before(async () => {
  chromium = await launch();
});
after(() => chromium.close());

/** Begins a sign-in, lets `person` act in `page`, and answers what the library makes of the redirect. */
async function signInThrough(config, page, person, more) {
  const { url, kept } = await beginSignIn(config, more);
  await page.goto(url.href);
  await person(page);
  return finishSignIn(config, await backAt(page, '/signin-callback'), kept);
}

test('a web app signs a person in, refreshes, calls the API and signs out', async () => {
  const config = await discover(ISSUER, ...FIRST);
  const page = await chromium.window();
  const { tokens, person } = await signInThrough(config, page, (at) => signIn(at));
  const claims = tokens.claims();
  assert.equal(claims.iss, ISSUER);
  assert.equal(claims.sub, 'alice');
  assert.equal(person.sub, claims.sub);
  assert.equal(person.name, 'Alice Archer');
  assert.equal((await firstCustomers(config, tokens.access_token)).length, 10);

  const fresh = await refresh(config, tokens.refresh_token);
  assert.notEqual(fresh.access_token, tokens.access_token);
  assert.notEqual(fresh.refresh_token, tokens.refresh_token);
  const rows = await firstCustomers(config, fresh.access_token);
  assert.equal(rows.length, 10);
  assert.match(rows[0]['@odata.id'], /^Crm_Customers\([0-9a-f-]{36}\)$/);

  await page.goto(signOutUrl(config, tokens.id_token).href);
  await backAt(page, '/signed-out');
  await assert.rejects(refresh(config, fresh.refresh_token), { error: 'invalid_grant' });
  await assert.rejects(firstCustomers(config, fresh.access_token), { status: 401 });
  await assert.rejects(signInThrough(config, page, async () => {}, { prompt: 'none' }), { error: 'login_required' });
});

test('a refused consent comes back as access_denied', async () => {
  const config = await discover(ISSUER, ...FIRST);
  const refusing = (at) => signIn(at, { login: 'bob', decision: 'deny' });
  await assert.rejects(signInThrough(config, await chromium.window(), refusing), { error: 'access_denied' });
});

test('a service gets a token for itself and calls the API', async () => {
  const config = await discover(ISSUER, ...SERVICE);
  const token = await serviceToken(config);
  assert.equal(token.scope, 'read');
  assert.equal(token.refresh_token, undefined);
  assert.equal(token.id_token, undefined);
  assert.equal((await firstCustomers(config, token.access_token)).length, 10);
});

test('a wrong secret is refused as invalid_client', async () => {
  const config = await discover(ISSUER, 'my.trusted.app/service', 'wrong-secret');
  const refusal = await serviceToken(config).then(() => assert.fail('a token for a wrong secret'), (error) => error);
  assert.equal(refusal.status, 401);
  assert.equal((await refusal.response.json()).error, 'invalid_client');
});

test('an application without a System User gets no token for itself', async () => {
  const config = await discover(ISSUER, ...FIRST);
  await assert.rejects(serviceToken(config), { error: 'unauthorized_client' });
});
