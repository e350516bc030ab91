// express-openid-connect with its defaults (`id_token` by `form_post`), and with `code id_token` by `form_post`, which
// the documented system's web samples send, against the running server; Chromium is the person's browser.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import express from 'express';
import { auth } from 'express-openid-connect';
import { APP, ISSUER, launch, signIn } from '../browser/chromium.js';

/** A web application that tells who is signed in. */
function webApp(more) {
  const app = express();
  app.use(
    auth({
      issuerBaseURL: ISSUER,
      baseURL: APP,
      clientID: 'my.trusted.app/first',
      secret: 'a secret of the session cookie, long enough',
      routes: { callback: '/signin-callback', postLogoutRedirect: '/signed-out' },
      ...more,
    }),
  );
  app.get('/', (request, response) => response.json({ user: request.oidc.user, token: request.oidc.accessToken?.access_token }));
  app.use((error, _request, response, _next) => response.status(error.status ?? 500).json({ error: error.error ?? error.message }));
  return createServer(app);
}

async function within(app, act) {
  const chromium = await launch(app);
  try {
    await act(await chromium.window());
  } finally {
    await chromium.close();
  }
}

const shown = async (page) => JSON.parse(await page.locator('body').innerText());

test('express-openid-connect signs a person in with its defaults', () =>
  within(webApp(), async (page) => {
    await page.goto(`${APP}/`);
    await signIn(page);
    await page.waitForURL(`${APP}/`);
    const { user, token } = await shown(page);
    assert.equal(user.sub, 'alice');
    assert.equal(token, undefined);
  }));

test('a web application that asks for code and ID token by form post gets both', () =>
  within(
    webApp({
      clientSecret: 'first-secret',
      authorizationParams: { response_type: 'code id_token', response_mode: 'form_post', scope: 'openid profile read' },
    }),
    async (page) => {
      await page.goto(`${APP}/`);
      await signIn(page);
      await page.waitForURL(`${APP}/`);
      const { user, token } = await shown(page);
      assert.equal(user.sub, 'alice');
      const api = ISSUER.replace(/\/id$/, '/api/domain/odata/Crm_Customers?$top=1');
      assert.equal((await fetch(api, { headers: { authorization: `Bearer ${token}` } })).status, 200);
    },
  ));

test('a refused consent reaches the application by form post', () =>
  within(webApp(), async (page) => {
    await page.goto(`${APP}/`);
    await signIn(page, { login: 'bob', decision: 'deny' });
    await page.waitForURL(`${APP}/signin-callback`);
    assert.match((await shown(page)).error, /access_denied/);
  }));
