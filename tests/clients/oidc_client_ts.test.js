// examples/spa (oidc-client-ts), as it stands, in Chromium against the running server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { APP, launch, pageCalled, signIn } from '../browser/chromium.js';

let chromium;
before(async () => {
  chromium = await launch();
});
after(() => chromium.close());

const statusOf = (page, text) => page.locator('#status', { hasText: text }).waitFor();

test('a page signs a person in, calls the API from the browser and signs out', async () => {
  const page = await chromium.window();
  await page.goto(`${APP}/index.html`);
  await page.locator('#sign-in').click();
  await signIn(page);
  await statusOf(page, 'Hello Alice Archer');
  const rows = await page.locator('#customers li').allInnerTexts();
  assert.equal(rows.length, 10);
  assert.match(rows[0], /^Crm_Customers\([0-9a-f-]{36}\)$/);
  assert.equal(new URL(page.url()).search, '');

  await page.locator('#sign-out').click();
  await page.waitForURL((url) => url.origin === APP && url.pathname === '/');
  await statusOf(page, 'Nobody is signed in.');
  await page.locator('#sign-in').click();
  await pageCalled(page, 'sign-in').waitFor();
});

test('a refused consent is shown as access_denied', async () => {
  const page = await chromium.window();
  await page.goto(`${APP}/index.html`);
  await page.locator('#sign-in').click();
  await signIn(page, { login: 'bob', decision: 'deny' });
  await statusOf(page, 'access_denied');
  assert.equal(await page.locator('#customers li').count(), 0);
});
