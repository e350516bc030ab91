// A web application in one file: open http://localhost:3000/ and sign in. One person at a time.
import { createServer } from 'node:http';
import { beginSignIn, discover, finishSignIn, firstCustomers, refresh, REDIRECT_URI } from './gatehouse.js';

const issuer = process.env.GATEHOUSE_ISSUER ?? 'http://localhost:8080/id';
const config = await discover(issuer, 'my.trusted.app/first', 'first-secret');
let waiting;

async function signedIn(callbackUrl) {
  const { tokens, person } = await finishSignIn(config, callbackUrl, waiting);
  const fresh = await refresh(config, tokens.refresh_token);
  const customers = await firstCustomers(config, fresh.access_token);
  return `Hello ${person.name}\n\n${customers.map((row) => row['@odata.id']).join('\n')}\n`;
}

createServer(async (request, response) => {
  const url = new URL(request.url, REDIRECT_URI);
  try {
    if (url.pathname === '/signin-callback') {
      response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end(await signedIn(url));
    } else {
      const begun = await beginSignIn(config);
      waiting = begun.kept;
      response.writeHead(302, { location: begun.url.href }).end();
    }
  } catch (refusal) {
    response.writeHead(403, { 'content-type': 'text/plain; charset=utf-8' }).end(`Not signed in: ${refusal.message}\n`);
  }
}).listen(3000, 'localhost', () => console.log('Open http://localhost:3000/ (demo: alice, ecila-Demo1)'));
