// A static file server for the page; the only thing it adds is which identity server to use.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

const FILES = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/index.html': ['index.html', 'text/html; charset=utf-8'],
  '/app.js': ['app.js', 'text/javascript'],
  '/oidc-client-ts.js': ['node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js', 'text/javascript'],
};

export function createSpa(issuer) {
  return createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const [file, type] = FILES[pathname] ?? [];
    if (pathname === '/config.json') {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ issuer }));
    } else if (file) {
      const body = await readFile(new URL(file, import.meta.url));
      response.writeHead(200, { 'content-type': type }).end(body);
    } else {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('Not here.');
    }
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const issuer = process.env.GATEHOUSE_ISSUER ?? 'http://localhost:8080/id';
  createSpa(issuer).listen(3000, 'localhost', () => {
    console.log(`Open http://localhost:3000/index.html and sign in at ${issuer} (demo: alice, ecila-Demo1)`);
  });
}
