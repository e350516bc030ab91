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

const INSTALL =
  '/manage/apps/install?applicationUri=vendor.app&applicationName=Vendor&clientType=Confidential' +
  '&redirectUri=https%3A%2F%2Fvendor.example%2Fcb&impersonate=internal&serviceAccess=clientCredentials&scope=read';

const WAYS = {
  manage: (page) => open(page, '/manage'),
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

test('a refused call is explained by its reference, with the difference marked', async () => {
  const page = await chromium.window();
  const answer = await page.goto(`${ROOT}/id/connect/authorize?client_id=my.trusted.app%2Ffirst&response_type=code&redirect_uri=https%3A%2F%2Felsewhere.example%2F`);
  const reference = answer.headers()['x-request-id'];
  assert.match(reference, /^[0-9a-f]{32}$/);
  await open(page, `/manage/refusals?reference=${reference}`);
  // What changes no state is written down within a second.
  for (let looks = 0; looks < 20 && !(await page.locator('main mark').count()); looks += 1) {
    await page.waitForTimeout(250);
    await page.reload();
  }
  assert.ok(await page.locator('main mark').count());
});
