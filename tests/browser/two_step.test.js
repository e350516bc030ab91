// Two-step sign-in as people meet it: with a virtual authenticator for passkeys, and without JavaScript for the rest.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { authorizeUrl, backAt, codeOf, ISSUER, launch, pageCalled, passwordOf, ROOT } from './chromium.js';

const SETTINGS = `${ROOT}/profile/two-step`;

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

async function signInTo(page, url, login) {
  await page.goto(url);
  await pageCalled(page, 'sign-in').waitFor();
  await enter(page, login);
}

/** A device that a person touches, and that made sure of them, whenever it is asked. */
async function withAuthenticator(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true,
    },
  });
  return {
    credentials: async () => (await devtools.send('WebAuthn.getCredentials', { authenticatorId })).credentials,
    /** The device of somebody who shakes their head. */
    refuse: () => devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false }),
    agree: () => devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: true }),
  };
}

test('a person adds a passkey, signs in by it alone, uses it after the password, and takes it away', async () => {
  const page = await chromium.window();
  const device = await withAuthenticator(page);
  await signInTo(page, SETTINGS, 'bob');
  await page.locator('a[href="/profile/two-step/passkey"]').click();
  await page.locator('input[name=name]').fill('Laptop');
  await page.locator('input[name=password]').fill(passwordOf('bob'));
  await page.locator('form[data-passkey] button').click();
  await pageCalled(page, 'profile-recovery-codes').waitFor();
  assert.equal(await page.locator('.codes code').count(), 10);
  const [credential] = await device.credentials();
  assert.equal(credential.isResidentCredential, true, 'it can be found without a login');
  assert.equal(credential.rpId, new URL(ROOT).hostname);

  await page.context().clearCookies();
  await page.goto(authorizeUrl({ prompt: 'login' }));
  await page.locator('form[data-passkey] button').click();
  await page.locator('body:not([data-page="sign-in"])').waitFor();
  if (await pageCalled(page, 'consent').count()) await page.locator('button[value=allow]').click();
  assert.ok((await backAt(page, '/signin-callback')).searchParams.get('code'));

  await page.context().clearCookies();
  await signInTo(page, SETTINGS, 'bob');
  await pageCalled(page, 'second-step').waitFor();
  await device.refuse();
  await page.locator('form[data-passkey] button').click();
  await page.locator('[data-problem]:not([hidden])').waitFor();
  assert.match(await page.locator('[data-problem]').innerText(), /No passkey was used/);
  await device.agree();
  await page.locator('form[data-passkey] button').click();
  await pageCalled(page, 'profile-two-step').waitFor();
  assert.match(await page.locator('.lines').innerText(), /Laptop[\s\S]*last used on/);

  await page.locator('.lines a').click();
  await page.locator('input[name=password]').fill(passwordOf('bob'));
  await page.locator('main form button').click();
  await page.locator('[role=status]').waitFor();
  assert.equal(await page.locator('.lines').count(), 0);
});

test('an authenticator app is set up, used and replaced by a recovery code without JavaScript', async () => {
  const page = await chromium.window({ javaScriptEnabled: false });
  await signInTo(page, `${SETTINGS}/app`, 'admin');
  const key = await page.locator('#secret').innerText();
  await page.locator('input[name=code]').fill(codeOf(key));
  await page.locator('input[name=password]').fill(passwordOf('admin'));
  await page.locator('main form button').click();
  await pageCalled(page, 'profile-recovery-codes').waitFor();
  const codes = await page.locator('.codes code').allInnerTexts();

  await page.context().clearCookies();
  await signInTo(page, `${ISSUER}/account`, 'admin');
  await pageCalled(page, 'second-step').waitFor();
  assert.equal(await page.locator('form[data-passkey]:visible').count(), 0, 'nothing that needs a script is shown');
  await page.locator('input[name=code]').fill(codeOf(key, 1));
  await page.keyboard.press('Enter');
  await pageCalled(page, 'account').waitFor();

  await page.context().clearCookies();
  await signInTo(page, SETTINGS, 'admin');
  await page.locator('a[href^="/id/account/recovery-code"]').click();
  await page.locator('input[name=recovery_code]').fill(codes[0].toLowerCase());
  await page.keyboard.press('Enter');
  await pageCalled(page, 'profile-two-step').waitFor();
  assert.match(await page.locator('main').innerText(), /9 codes left/);

  await page.locator('a[href="/profile/two-step/confirm?what=app"]').click();
  await page.locator('input[name=password]').fill(passwordOf('admin'));
  await page.locator('main form button').click();
  await page.locator('[role=status]').waitFor();
  await page.context().clearCookies();
  await signInTo(page, `${ISSUER}/account`, 'admin');
  await pageCalled(page, 'account').waitFor();
});
