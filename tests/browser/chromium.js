// Debian's Chromium against the running demo: `GATEHOUSE_URL` is the root URL of its instance `testdb`.
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { chromium } from 'playwright-core';
import { createSpa } from '../../examples/spa/serve.js';

export const ROOT = process.env.GATEHOUSE_URL;
if (!ROOT) throw new Error('GATEHOUSE_URL is not set');
export const ISSUER = `${ROOT}/id`;
export const APP = 'http://localhost:3000';

/** The demo's rule: the login reversed and `-Demo1`. */
export const passwordOf = (login) => `${[...login].reverse().join('')}-Demo1`;

/**
 * A browser in which `http://localhost:3000`, where the demo's applications are registered, is `app` on a free port,
 * the single-page example by default: nothing listens on a fixed one.
 */
export async function launch(app = createSpa(ISSUER)) {
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      `--host-resolver-rules=MAP localhost:3000 127.0.0.1:${app.address().port}`,
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  return {
    /** A window of its own: other cookies, and `options` as in Playwright's `newContext`. */
    async window(options) {
      const context = await browser.newContext(options);
      context.setDefaultTimeout(15_000);
      return context.newPage();
    },
    async close() {
      await browser.close();
      app.close();
    },
  };
}

export const pageCalled = (page, name) => page.locator(`body[data-page="${name}"]`);

/** Fills in the sign-in page, and the consent page if it comes. */
export async function signIn(page, { login = 'alice', decision = 'allow' } = {}) {
  await pageCalled(page, 'sign-in').waitFor();
  await page.locator('input[name=login]').fill(login);
  await page.locator('input[name=password]').fill(passwordOf(login));
  await page.locator('input[name=password]').press('Enter');
  await page.locator('body:not([data-page="sign-in"])').waitFor();
  if (await pageCalled(page, 'consent').count()) {
    await page.locator(`button[name=decision][value=${decision}]`).click();
  }
}

/** Waits until the browser is back at the application and answers the address it came with. */
export async function backAt(page, path) {
  await page.waitForURL((url) => url.origin === APP && url.pathname === path);
  return new URL(page.url());
}

/** The address of a sign-in for the demo's web application. */
export function authorizeUrl(more = {}) {
  const url = new URL(`${ISSUER}/connect/authorize`);
  url.search = new URLSearchParams({
    client_id: 'my.trusted.app/first',
    redirect_uri: `${APP}/signin-callback`,
    response_type: 'code',
    scope: 'openid profile read',
    state: 'tests',
    ...more,
  });
  return url.href;
}

/** What an authenticator app shows that was given `key` (RFC 6238), `steps` half minutes from now. */
export function codeOf(key, steps = 0) {
  const bits = [...key.replaceAll(' ', '')]
    .map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0'))
    .join('');
  const secret = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const tag = createHmac('sha1', secret).update(counter).digest();
  const number = tag.readUInt32BE(tag[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, '0');
}
