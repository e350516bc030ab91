// The pages as people meet them: without JavaScript, by keyboard, on a phone, in the dark.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { APP, authorizeUrl, backAt, codeOf, ISSUER, launch, pageCalled, passwordOf, ROOT, signIn } from './chromium.js';
import { looksGood } from './looks.js';

let chromium;
before(async () => {
  chromium = await launch();
});
after(() => chromium.close());

async function enter(page, login) {
  await page.locator('input[name=login]').fill(login);
  await page.locator('input[name=password]').fill(passwordOf(login));
  await page.locator('input[name=password]').press('Enter');
}

async function profile(page, section) {
  await page.goto(`${ROOT}/profile/${section}`);
  await enter(page, 'alice');
}

/** The administrator's cookies, once two-step sign-in is set up; whoever signs in anew has the second step before them. */
let twoStep;
async function inTwoSteps(page, section) {
  if (!twoStep) {
    const first = await chromium.window();
    await first.goto(`${ROOT}/profile/two-step/app`);
    await enter(first, 'admin');
    await first.locator('input[name=code]').fill(codeOf(await first.locator('#secret').innerText()));
    await first.locator('input[name=password]').fill(passwordOf('admin'));
    await first.locator('main form button').click();
    await pageCalled(first, 'profile-recovery-codes').waitFor();
    twoStep = await first.context().cookies();
    await first.context().close();
  }
  await page.context().addCookies(twoStep);
  await page.goto(`${ROOT}/profile/${section}`);
}

/** Each page, by its `data-page` and what is special about it, and the way to it. */
const WAYS = {
  landing: (page) => page.goto(ROOT),
  'sign-in': (page) => page.goto(authorizeUrl()),
  async 'sign-in refused'(page) {
    await page.goto(authorizeUrl());
    await enter(page, 'dave');
    await page.locator('[role=alert]').waitFor();
  },
  async 'sign-in or continue'(page) {
    await WAYS.account(page);
    await page.goto(authorizeUrl({ prompt: 'select_account' }));
    await page.locator('button[name=continue]').waitFor();
  },
  async forgotten(page) {
    await page.goto(authorizeUrl());
    await page.locator('#forgotten').click();
  },
  async consent(page) {
    await page.goto(authorizeUrl({ prompt: 'consent' }));
    await enter(page, 'alice');
  },
  async 'form-post'(page) {
    // An application that answers with nothing, so that the page stays.
    await page.route(`${APP}/**`, (route) => route.fulfill({ status: 204 }));
    await page.goto(authorizeUrl({ response_mode: 'form_post' }));
    await signIn(page);
  },
  async account(page) {
    await page.goto(`${ISSUER}/account`);
    await enter(page, 'alice');
  },
  async profile(page) {
    await page.goto(`${ROOT}/profile`);
    await enter(page, 'alice');
  },
  'profile-email': (page) => profile(page, 'email'),
  'profile-password': (page) => profile(page, 'password'),
  'profile-tokens': (page) => profile(page, 'tokens'),
  async 'profile-token-new'(page) {
    await WAYS['profile-tokens'](page);
    await page.locator('.sites a').first().click();
  },
  async 'profile-token-made'(page) {
    await WAYS['profile-token-new'](page);
    await page.locator('#description').fill('nightly export');
    await page.locator('input[name=scope]').first().check();
    await page.locator('main button.primary').click();
  },
  async 'profile-apps'(page) {
    await WAYS.consent(page);
    await page.locator('button[name=decision][value=allow]').click();
    await backAt(page, '/signin-callback');
    await page.goto(`${ROOT}/profile/apps`);
  },
  'profile-sessions': (page) => profile(page, 'sessions'),
  'profile-picture': (page) => profile(page, 'picture'),
  'profile-language': (page) => profile(page, 'language'),
  'profile-two-step': (page) => profile(page, 'two-step'),
  'profile-two-step-app': (page) => profile(page, 'two-step/app'),
  'profile-two-step-passkey': (page) => profile(page, 'two-step/passkey'),
  'profile-two-step on': (page) => inTwoSteps(page, 'two-step'),
  'profile-two-step-confirm': (page) => inTwoSteps(page, 'two-step/confirm?what=app'),
  async 'profile-recovery-codes'(page) {
    await inTwoSteps(page, 'two-step/confirm?what=codes');
    await page.locator('input[name=password]').fill(passwordOf('admin'));
    await page.locator('main form button').click();
  },
  async 'second-step'(page) {
    await inTwoSteps(page, 'two-step');
    await page.context().clearCookies();
    await page.goto(authorizeUrl());
    await enter(page, 'admin');
  },
  async 'second-step by recovery code'(page) {
    await WAYS['second-step'](page);
    await page.locator('a[href^="/id/account/recovery-code"]').click();
    await page.locator('#recovery_code').waitFor();
  },
  async 'admin-api'(page) {
    await page.goto(`${ROOT}/manage/api/v1`);
    await page.locator('details').evaluateAll((parts) => parts.forEach((part) => { part.open = true; }));
  },
  error: (page) => page.goto(authorizeUrl({ redirect_uri: 'https://elsewhere.example.com/' })),
  async 'sign-out'(page) {
    await WAYS.account(page);
    await page.locator('#sign-out').click();
  },
  async 'signed-out'(page) {
    await WAYS['sign-out'](page);
    await page.locator('main form button').click();
  },
};

for (const [name, walk] of Object.entries(WAYS)) {
  test(`the page "${name}" is accessible and fits, on desktop and phone, in light and dark`, () => looksGood(chromium, name, walk));
}

/** Presses Tab until the element that `selector` names has the focus. */
async function tabTo(page, selector) {
  for (let presses = 0; presses < 20; presses += 1) {
    if (await page.locator(`${selector}:focus`).count()) return;
    await page.keyboard.press('Tab');
  }
  assert.fail(`Tab never reaches ${selector}`);
}

test('a person signs in and consents without JavaScript, by keyboard alone', async () => {
  const page = await chromium.window({ javaScriptEnabled: false });
  await page.goto(authorizeUrl({ prompt: 'consent' }));
  await pageCalled(page, 'sign-in').waitFor();
  await tabTo(page, 'input[name=login]');
  await page.keyboard.type('bob');
  await page.keyboard.press('Tab');
  await tabTo(page, 'input[name=password]');
  await page.keyboard.type(passwordOf('bob'));
  await page.keyboard.press('Enter');
  await pageCalled(page, 'consent').waitFor();
  await tabTo(page, 'button[name=decision][value=allow]');
  await page.keyboard.press('Enter');
  const back = await backAt(page, '/signin-callback');
  assert.equal(back.searchParams.get('state'), 'tests');
  assert.ok(back.searchParams.get('code'));
});

for (const javaScriptEnabled of [true, false]) {
  test(`a response by form post reaches the application ${javaScriptEnabled ? 'by itself' : 'by a button without JavaScript'}`, async () => {
    const page = await chromium.window({ javaScriptEnabled });
    const posted = page.waitForRequest((request) => request.method() === 'POST' && request.url().startsWith(APP));
    await page.goto(authorizeUrl({ response_type: 'code id_token', response_mode: 'form_post', nonce: 'once' }));
    await signIn(page);
    if (!javaScriptEnabled) {
      await pageCalled(page, 'form-post').waitFor();
      await tabTo(page, 'main form button');
      await page.keyboard.press('Enter');
    }
    const request = await posted;
    assert.equal(request.url(), `${APP}/signin-callback`);
    const response = new URLSearchParams(request.postData());
    assert.deepEqual([...response.keys()].sort(), ['code', 'id_token', 'iss', 'state']);
    assert.equal(response.get('state'), 'tests');
  });
}

/** RFC 8252 §8.6: any program can listen where a native app does. */
test('a native app gets a code from somebody signed in by a press of a button, although it was allowed before', async () => {
  const app = createServer((_request, answer) => answer.end('back')).listen(0, '127.0.0.1');
  await once(app, 'listening');
  try {
    const redirect_uri = `http://127.0.0.1:${app.address().port}/callback`;
    const code_challenge = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
    const native = { client_id: 'my.trusted.app/native', redirect_uri, code_challenge, code_challenge_method: 'S256' };
    const page = await chromium.window({ javaScriptEnabled: false });
    await page.goto(authorizeUrl(native));
    await signIn(page);
    await page.waitForURL((url) => url.href.startsWith(redirect_uri) && url.searchParams.has('code'));
    await page.goto(authorizeUrl(native));
    await pageCalled(page, 'sign-in').waitFor();
    assert.match(await page.locator('main').innerText(), /Field App/);
    await tabTo(page, 'button[name=continue]');
    await page.keyboard.press('Enter');
    await page.waitForURL((url) => url.href.startsWith(redirect_uri) && url.searchParams.has('code'));
    await page.goto(authorizeUrl({ ...native, prompt: 'none' }));
    await page.waitForURL((url) => url.href.startsWith(redirect_uri) && url.searchParams.get('error') === 'interaction_required');
  } finally {
    app.close();
  }
});

test('a wrong password is told on the page, to screen readers too, and the login is kept', async () => {
  const page = await chromium.window({ javaScriptEnabled: false });
  await page.goto(authorizeUrl());
  await page.locator('input[name=login]').fill('alice');
  await page.locator('input[name=password]').fill('wrong');
  await page.locator('input[name=password]').press('Enter');
  await page.locator('[role=alert]').waitFor();
  await pageCalled(page, 'sign-in').waitFor();
  assert.equal(await page.locator('input[name=login]').inputValue(), 'alice');
  assert.equal(await page.locator('input[name=password]').inputValue(), '');
  await signIn(page);
  assert.ok((await backAt(page, '/signin-callback')).searchParams.get('code'));
});

test('a person who came without an application sees who is signed in, and is not sent to sign in again', async () => {
  const page = await chromium.window();
  await WAYS.account(page);
  await pageCalled(page, 'account').waitFor();
  assert.match(await page.locator('main').innerText(), /Alice Archer/);
  assert.deepEqual(await page.locator('main a').allInnerTexts(), ['Sign out', 'Profile']);
});

test('an unregistered redirect is an error page with a reference, never a redirect', async () => {
  const page = await chromium.window();
  const answer = await page.goto(authorizeUrl({ redirect_uri: 'https://elsewhere.example.com/' }));
  assert.equal(answer.status(), 400);
  assert.ok(page.url().startsWith(ISSUER));
  assert.match(await page.locator('main').innerText(), /reference/i);
});

test('no page of the server may stand in a frame of another', async () => {
  const page = await chromium.window();
  const answer = await page.goto(authorizeUrl());
  assert.match(answer.headers()['content-security-policy'], /frame-ancestors 'none'/);
});

test('a token is made and revoked by keyboard alone, without JavaScript', async () => {
  const page = await chromium.window({ javaScriptEnabled: false });
  await profile(page, 'tokens');
  await pageCalled(page, 'profile-tokens').waitFor();
  await tabTo(page, '.sites a');
  await page.keyboard.press('Enter');
  await pageCalled(page, 'profile-token-new').waitFor();
  await tabTo(page, '#description');
  await page.keyboard.type('by keyboard');
  await tabTo(page, 'input[name=scope]');
  await page.keyboard.press('Space');
  await tabTo(page, 'main button.primary');
  await page.keyboard.press('Enter');
  await pageCalled(page, 'profile-token-made').waitFor();
  const value = await page.locator('#value').innerText();
  assert.match(value, /^enrt_[0-9A-F]{64}$/);
  assert.ok(!page.url().includes(value));
  const call = () => fetch(`${ROOT}/api/domain/odata/Crm_Customers?$top=1`, { headers: { 'x-api-key': value } });
  assert.equal((await call()).status, 200);
  await page.goto(`${ROOT}/profile/tokens`);
  const row = page.locator('.things li', { hasText: 'by keyboard' });
  await row.locator('button').focus();
  await page.keyboard.press('Enter');
  await page.locator('[role=status]').waitFor();
  assert.equal((await call()).status, 401);
});

test('a picture is chosen, shown and removed without JavaScript', async () => {
  const page = await chromium.window({ javaScriptEnabled: false });
  await profile(page, 'picture');
  await pageCalled(page, 'profile-picture').waitFor();
  const portrait = await page.locator('.portrait').screenshot();
  await page.locator('#picture').setInputFiles({ name: 'me.png', mimeType: 'image/png', buffer: await page.screenshot() });
  await page.locator('main button.primary').click();
  await page.locator('button[name=remove]').waitFor();
  assert.notDeepEqual(await page.locator('.portrait').screenshot(), portrait);
  await page.locator('button[name=remove]').click();
  await page.locator('[role=status]').waitFor();
  assert.equal(await page.locator('button[name=remove]').count(), 0);
});
