// The instance manager as administrators meet it: every page on every size, and the work of a day without JavaScript.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, pageCalled, passwordOf, ROOT } from './chromium.js';
import { looksGood } from './looks.js';

let chromium;
before(async () => {
  chromium = await launch();
});
after(() => chromium.close());

/** Cookies of who signed in already: once for all pages. */
const signedIn = {};

async function open(page, path, login = 'admin') {
  if (signedIn[login]) {
    await page.context().addCookies(signedIn[login]);
    await page.goto(`${ROOT}${path}`);
    return;
  }
  await page.goto(`${ROOT}${path}`);
  await page.locator('input[name=login]').fill(login);
  await page.locator('input[name=password]').fill(passwordOf(login));
  await page.locator('input[name=password]').press('Enter');
  await page.locator('body:not([data-page="sign-in"])').waitFor();
  signedIn[login] = await page.context().cookies();
}

async function first(page, path) {
  await open(page, path);
  await page.locator('tbody a').first().click();
}

/** A service gets a token and calls the API with it: each token is a session of its own. */
async function takeSeat() {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: 'my.trusted.app/service',
    client_secret: 'service-secret',
    scope: 'read',
  });
  const issued = await fetch(`${ROOT}/id/connect/token`, { method: 'POST', body });
  const { access_token: token } = await issued.json();
  const called = await fetch(`${ROOT}/api/domain/odata/`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(called.status, 200);
}

const INSTALL =
  '/manage/apps/install?applicationUri=vendor.app&applicationName=Vendor&clientType=Confidential' +
  '&redirectUri=https%3A%2F%2Fvendor.example%2Fcb&impersonate=internal&serviceAccess=clientCredentials&scope=read';

const WAYS = {
  async manage(page) {
    await takeSeat();
    await open(page, '/manage');
  },
  'manage-apps': (page) => open(page, '/manage/apps'),
  'manage-app': (page) => first(page, '/manage/apps'),
  'manage-app-kinds': (page) => open(page, '/manage/apps/new'),
  'manage-app-new': (page) => open(page, '/manage/apps/new?kind=web'),
  async 'manage-app-new refused'(page) {
    await WAYS['manage-app-new'](page);
    await page.locator('#uri').fill('refused.app');
    await page.locator('#name').fill('Refused');
    await page.locator('#redirect_uris').fill('http://elsewhere.example/');
    await page.locator('main form button').click();
    await page.locator('[role=alert]').waitFor();
  },
  async 'manage-app-try'(page) {
    await open(page, '/manage/apps?find=my.trusted.app/first');
    await page.locator('tbody a').first().click();
    await page.locator('.ways a', { hasText: 'Try it' }).click();
    await page.locator('input[name=agrees]').check();
    await page.locator('main form button').click();
    await page.locator('.step').last().waitFor();
  },
  'manage-install': (page) => open(page, INSTALL),
  'manage-install-broken': (page) => open(page, '/manage/apps/install?clientType=Public'),
  'manage-uninstall': (page) => open(page, '/manage/apps/uninstall?applicationUri=my.trusted.app/first'),
  'manage-users': (page) => open(page, '/manage/users'),
  'manage-user': (page) => first(page, '/manage/users'),
  'manage-user-new': (page) => open(page, '/manage/users/new'),
  'manage-roles': (page) => open(page, '/manage/roles'),
  'manage-role': (page) => first(page, '/manage/roles'),
  'manage-sessions': (page) => open(page, '/manage/sessions'),
  'manage-tokens': (page) => open(page, '/manage/tokens'),
  'manage-keys': (page) => open(page, '/manage/keys'),
  'manage-key-replacement': (page) => open(page, '/manage/keys?replace=ES256'),
  'manage-audit': (page) => open(page, '/manage/audit'),
  async 'manage-audit-verified'(page) {
    await open(page, '/manage/audit');
    await page.locator('main form[method=post] button').click();
  },
  'manage-refusals': (page) => open(page, '/manage/refusals'),
  'manage-legacy': (page) => open(page, '/manage/legacy'),
  'manage-settings': (page) => open(page, '/manage/settings'),
  'error for who is no administrator': (page) => open(page, '/manage', 'bob'),
};

for (const [name, walk] of Object.entries(WAYS)) {
  test(`the page "${name}" is accessible and fits, on desktop and phone, in light and dark`, () => looksGood(chromium, name, walk));
}

test('an application is registered, found and switched off without JavaScript', async () => {
  const page = await chromium.window({ javaScriptEnabled: false });
  await open(page, '/manage/apps/new?kind=web');
  await page.locator('#uri').fill('by.browser');
  await page.locator('#name').fill('By <b>browser</b>');
  await page.locator('#redirect_uris').fill('https://by.example/cb\nhttps://by.example/cb2');
  await page.locator('main form button').click();
  await pageCalled(page, 'manage-app-registered').waitFor();
  assert.match(await page.locator('#value').innerText(), /^[\w-]{43}$/);
  await page.goto(`${ROOT}/manage/apps?find=by.`);
  assert.equal(await page.locator('tbody tr').count(), 1);
  await page.locator('tbody a').click();
  assert.equal(await page.locator('h1').innerText(), 'By <b>browser</b>');
  await page.locator('input[name=enabled]').uncheck();
  await page.locator('main form button.primary').first().click();
  await page.locator('[role=status]').waitFor();
  assert.match(await page.locator('main').innerText(), /disabled/);
});

test('the flow of an application is run and shown, each step with its request and answer', async () => {
  const page = await chromium.window({ javaScriptEnabled: false });
  await WAYS['manage-app-try'](page);
  const steps = await page.locator('.step h2').allInnerTexts();
  assert.ok(steps.length >= 8 && steps.every((step) => step.endsWith('done')), steps.join('\n'));
  assert.match(await page.locator('main').innerText(), /All steps succeeded/);
  assert.match(await page.locator('.step pre').nth(2).innerText(), /^GET \/id\/connect\/authorize\n {2}\?client_id=my\.trusted\.app/);
});

test('the sessions page shows who takes a seat while one looks at it, and holds still when asked', async () => {
  const page = await chromium.window();
  await open(page, '/manage/sessions');
  const rows = page.locator('tbody tr');
  const before = await rows.count();
  await page.locator('#user').fill('half a nam');
  await takeSeat();
  await rows.nth(before).waitFor();
  assert.equal(await page.locator('#user').inputValue(), 'half a nam', 'what somebody is typing stays');
  await page.getByRole('button', { name: 'Pause updates' }).click();
  await takeSeat();
  await page.waitForTimeout(4000);
  assert.equal(await rows.count(), before + 1);
});

test('a form says what would be refused while it is filled in', async () => {
  const page = await chromium.window();
  await open(page, '/manage/apps/new?kind=web');
  const problems = page.locator('.problems li');
  await page.locator('#uri').fill('my.trusted.app/first');
  await problems.filter({ hasText: 'already exists' }).waitFor();
  await page.locator('#uri').fill('checked.app');
  await page.locator('#name').fill('Checked');
  await page.locator('#redirect_uris').fill('http://elsewhere.example/');
  await problems.filter({ hasText: 'ImpersonateLoginUrl' }).waitFor();
  assert.equal(await problems.count(), 1);
  await page.locator('#redirect_uris').fill('https://elsewhere.example/');
  await page.locator('.problems').waitFor({ state: 'hidden' });
});

test('a refused call is explained by its reference, with the difference marked', async () => {
  const page = await chromium.window();
  const answer = await page.goto(`${ROOT}/id/connect/authorize?client_id=my.trusted.app%2Ffirst&response_type=code&redirect_uri=https%3A%2F%2Felsewhere.example%2F`);
  const reference = answer.headers()['x-request-id'];
  assert.match(reference, /^[0-9a-f]{32}$/);
  await open(page, `/manage/refusals?reference=${reference}`);
  // What changes no state is written down within a second.
  for (let attempt = 0; attempt < 20 && !(await page.locator('main mark').count()); attempt += 1) {
    await page.waitForTimeout(250);
    await page.reload();
  }
  assert.ok(await page.locator('main mark').count());
});
