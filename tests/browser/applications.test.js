// Every form that ends at an application, where the application's callback sends the browser on to other origins.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { APP, authorizeUrl, codeOf, ISSUER, launch, pageCalled, passwordOf, ROOT } from './chromium.js';

/** Opens a window, and waits for what that window's last page hands over. */
const OPENER = `<title>Opener</title><button>Sign in</button><p></p><script>
  document.querySelector('button').onclick = () => { window.popup = open(location.hash.slice(1), 'popup', 'popup'); };
  onmessage = (event) => { document.querySelector('p').textContent = event.data; window.popup.close(); };
</script>`;
const HAND_OVER = '<title>Hand over</title><script>opener.postMessage(location.search, location.origin);</script>';

const AHEAD = (url) => `<title>Ahead</title><link rel="prefetch" href="${url.replaceAll('&', '&amp;')}">`;

/** At the registered addresses: on to another host, and from there to a third. */
const application = createServer((request, response) => {
  const { port } = application.address();
  const { host } = request.headers;
  const { pathname, search, searchParams } = new URL(request.url, APP);
  const page = (html) => response.writeHead(200, { 'content-type': 'text/html' }).end(html);
  if (pathname === '/opener') {
    page(OPENER);
  } else if (pathname === '/ahead') {
    page(AHEAD(searchParams.get('url')));
  } else if (searchParams.get('state') === 'popup') {
    page(HAND_OVER);
  } else if (host === new URL(APP).host) {
    response.writeHead(302, { location: `http://home.localhost:${port}${pathname}${search}` }).end();
  } else if (host.startsWith('home.')) {
    response.writeHead(303, { location: `http://127.0.0.1:${port}${pathname}${search}` }).end();
  } else {
    page('<title>Home</title><p>Welcome home.');
  }
});

let chromium;
before(async () => {
  chromium = await launch(application);
});
after(() => chromium.close());

/** The last of the three hosts: the address says what the application was told. */
async function home(page, path) {
  const host = `127.0.0.1:${application.address().port}`;
  await page.waitForURL((url) => url.host === host && url.pathname === path);
  return new URL(page.url()).searchParams;
}

async function homeWithCode(page) {
  const answer = await home(page, '/portal-callback');
  assert.ok(answer.get('code'), 'the code arrived');
  await page.context().clearCookies();
}

/** An application that asks for no consent: the form before it ends there. */
const PORTAL = { client_id: 'portal.example.com', redirect_uri: `${APP}/portal-callback`, scope: 'read' };
const portal = (more) => authorizeUrl({ ...PORTAL, ...more });

async function enter(page, login) {
  await page.locator('input[name=login]').fill(login);
  await page.locator('input[name=password]').fill(passwordOf(login));
  await page.locator('input[name=password]').press('Enter');
}

test('the sign-in form', async () => {
  const page = await chromium.window();
  await page.goto(portal());
  await enter(page, 'alice');
  await homeWithCode(page);
});

test('the sign-in form after a wrong password', async () => {
  const page = await chromium.window({ javaScriptEnabled: false });
  await page.goto(portal());
  await enter(page, 'dave');
  await page.locator('[role=alert]').waitFor();
  await enter(page, 'alice');
  await homeWithCode(page);
});

test('"Continue as"', async () => {
  const page = await chromium.window();
  await page.goto(`${ISSUER}/account`);
  await enter(page, 'alice');
  await page.goto(portal({ prompt: 'select_account' }));
  await page.locator('button[name=continue]').click();
  await homeWithCode(page);
});

for (const [decision, told] of [['allow', 'code'], ['deny', 'error']]) {
  test(`the consent form: ${decision}`, async () => {
    const page = await chromium.window();
    await page.goto(authorizeUrl({ prompt: 'consent' }));
    await enter(page, 'alice');
    await page.locator(`button[name=decision][value=${decision}]`).click();
    const answer = await home(page, '/signin-callback');
    assert.ok(answer.get(told), `${told} arrived`);
    assert.equal(answer.get('state'), 'tests');
  });
}

test('the second step by an authenticator app, and by a recovery code', async () => {
  const page = await chromium.window();
  await page.goto(`${ROOT}/profile/two-step/app`);
  await enter(page, 'admin');
  const key = await page.locator('#secret').innerText();
  await page.locator('input[name=code]').fill(codeOf(key));
  await page.locator('input[name=password]').fill(passwordOf('admin'));
  await page.locator('main form button').click();
  await pageCalled(page, 'profile-recovery-codes').waitFor();
  const recoveryCode = await page.locator('.codes code').first().innerText();

  await page.context().clearCookies();
  await page.goto(portal());
  await enter(page, 'admin');
  await page.locator('input[name=code]').fill(codeOf(key, 1));
  await page.keyboard.press('Enter');
  await homeWithCode(page);

  await page.goto(portal());
  await enter(page, 'admin');
  await page.locator('a[href^="/id/account/recovery-code"]').click();
  await page.locator('input[name=recovery_code]').fill(recoveryCode);
  await page.keyboard.press('Enter');
  await homeWithCode(page);
});

test('a passkey, alone and as the second step', async () => {
  const page = await chromium.window();
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true,
    },
  });
  await page.goto(`${ROOT}/profile/two-step/passkey`);
  await enter(page, 'bob');
  await page.locator('input[name=name]').fill('Laptop');
  await page.locator('input[name=password]').fill(passwordOf('bob'));
  await page.locator('form[data-passkey] button').click();
  await pageCalled(page, 'profile-recovery-codes').waitFor();

  await page.context().clearCookies();
  await page.goto(portal());
  await page.locator('form[data-passkey] button').click();
  await homeWithCode(page);

  await page.goto(portal());
  await enter(page, 'bob');
  await pageCalled(page, 'second-step').waitFor();
  await page.locator('form[data-passkey] button').click();
  await homeWithCode(page);
});

test('the sign-out form', async () => {
  const page = await chromium.window();
  await page.goto(`${ISSUER}/account`);
  await enter(page, 'alice');
  await pageCalled(page, 'account').waitFor();
  const leaving = new URLSearchParams({
    client_id: PORTAL.client_id, post_logout_redirect_uri: `${APP}/portal-out`, state: 'out',
  });
  await page.goto(`${ISSUER}/connect/endsession?${leaving}`);
  await pageCalled(page, 'sign-out').waitFor();
  await page.locator('main form button').click();
  assert.equal((await home(page, '/portal-out')).get('state'), 'out');
});

/** What the application's page is handed over by the window that it opened. */
async function throughPopup(page, url, steps) {
  await page.goto(`${APP}/opener#${url}`);
  const [popup] = await Promise.all([page.waitForEvent('popup'), page.locator('button').click()]);
  await steps(popup);
  await page.locator('p:not(:empty)').waitFor();
  if (!popup.isClosed()) await popup.waitForEvent('close');
  return new URLSearchParams(await page.locator('p').innerText());
}

test('an application that opened a window for the sign-in hears of its end', async () => {
  const page = await chromium.window();
  const answer = await throughPopup(page, portal({ state: 'popup' }), async (popup) => {
    await popup.locator('#forgotten').click();
    await pageCalled(popup, 'forgotten').waitFor();
    await popup.goBack();
    await enter(popup, 'dave');
    await popup.locator('[role=alert]').waitFor();
    await enter(popup, 'alice');
  });
  assert.ok(answer.get('code'));
});

test('an application that opened a window for consent and for the sign-out hears of their end', async () => {
  const page = await chromium.window();
  const consented = await throughPopup(page, authorizeUrl({ prompt: 'consent', state: 'popup' }), async (popup) => {
    await enter(popup, 'alice');
    await popup.locator('button[name=decision][value=allow]').click();
  });
  assert.ok(consented.get('code'));
  const leaving = new URLSearchParams({
    client_id: PORTAL.client_id, post_logout_redirect_uri: `${APP}/portal-out`, state: 'popup',
  });
  const left = await throughPopup(page, `${ISSUER}/connect/endsession?${leaving}`, async (popup) => {
    await popup.locator('main form button').click();
  });
  assert.equal(left.get('state'), 'popup');
});

test('a page of a person who is signed in is out of reach for the window that opened it', async () => {
  const page = await chromium.window();
  await page.goto(`${ROOT}/profile`);
  await enter(page, 'alice');
  await pageCalled(page, 'profile').waitFor();
  await page.goto(`${APP}/opener#${ROOT}/profile`);
  await page.locator('button').click();
  await page.waitForFunction(() => window.popup.closed);
});

test('what a browser fetches ahead signs nobody out and issues no code', async () => {
  const page = await chromium.window();
  await page.goto(`${ISSUER}/account`);
  await enter(page, 'alice');
  await pageCalled(page, 'account').waitFor();
  for (const url of [portal(), `${ISSUER}/connect/endsession`]) {
    const ahead = page.waitForResponse((response) => response.url() === url);
    await page.goto(`${APP}/ahead?${new URLSearchParams({ url })}`);
    const answer = await ahead;
    assert.match((await answer.request().allHeaders())['sec-purpose'], /prefetch/);
    assert.equal(answer.status(), 503);
  }
  await page.goto(`${ISSUER}/account`);
  await pageCalled(page, 'account').waitFor();
});
