// Another e-mail address, in an installation of its own that sends real letters.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { launch, pageCalled } from './chromium.js';

const GATEHOUSE = process.env.GATEHOUSE ?? fileURLToPath(new URL('../../target/debug/gatehouse', import.meta.url));
const PICTURES = process.env.GATEHOUSE_PICTURES;
const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PASSWORD = 'seven grey pigeons on a wire';

let chromium, folder, root, server, sink;

/** A mail server that takes every letter (RFC 5321), and hands them out by address. */
function mailServer() {
  const letters = new Map();
  const waiting = new Map();
  const keep = (to, text) => {
    if (waiting.has(to)) waiting.get(to)(text);
    else letters.set(to, text);
  };
  const listener = createServer((socket) => {
    let [to, lines] = ['', null];
    const say = (line) => socket.write(`${line}\r\n`);
    say('220 tests');
    createInterface({ input: socket }).on('line', (line) => {
      if (lines && line === '.') {
        keep(to, lines.join('\n'));
        lines = null;
        say('250 kept');
      } else if (lines) {
        lines.push(line);
      } else if (/^DATA/i.test(line)) {
        lines = [];
        say('354 go on');
      } else {
        to = line.match(/^RCPT TO:<(.*)>/i)?.[1] ?? to;
        say('250 fine');
        if (/^QUIT/i.test(line)) socket.end();
      }
    });
    socket.on('error', () => {});
  });
  return {
    listener,
    /** The path of the link in the next letter to this address. */
    async link(to) {
      const text = letters.get(to) ?? (await new Promise((resolve) => waiting.set(to, resolve)));
      letters.delete(to);
      waiting.delete(to);
      const plain = /^content-transfer-encoding: base64/im.test(text)
        ? Buffer.from(text.slice(text.search(/\r?\n\r?\n/)), 'base64').toString()
        : text.replace(/=\r?\n/g, '').replace(/=([0-9A-F]{2})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16)));
      return plain.match(/http:\/\/erp\.localhost:8080(\/\S+)/)[1];
    },
  };
}

const gatehouse = (...words) =>
  promisify(execFile)(GATEHOUSE, [...words, '--config', join(folder, 'gatehouse.toml')]);

before(async () => {
  chromium = await launch();
  sink = mailServer();
  await once(sink.listener.listen(0, '127.0.0.1'), 'listening');
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-'));
  await writeFile(join(folder, 'master.key'), randomBytes(32).toString('base64'), { mode: 0o600 });
  await writeFile(join(folder, 'gatehouse.toml'), `
    listen = ["127.0.0.1:0"]
    database = "sqlite:house.db"
    default_instance = "erp"
    [master_key]
    file = "master.key"
    [mail]
    host = "127.0.0.1"
    port = ${sink.listener.address().port}
    tls = "none"
    from = "Gatehouse <no-reply@erp.example>"
    [[instance]]
    name = "erp"
    url = "http://erp.localhost:8080"
  `);
  await gatehouse('instance', 'create', 'erp');
  await gatehouse('user', 'create', 'eve', '--name', 'Eve Ellis', '--email', 'eve@work.example', '--invite');
  server = spawn(GATEHOUSE, ['serve', '--config', join(folder, 'gatehouse.toml')], { stdio: ['ignore', 'ignore', 'pipe'] });
  for await (const line of createInterface({ input: server.stderr })) {
    const event = JSON.parse(line);
    if (event.message !== 'ready') continue;
    root = `http://127.0.0.1:${event.listen.match(/:(\d+)/)[1]}`;
    break;
  }
  server.stderr.resume();
});

after(async () => {
  server?.kill();
  sink?.listener.close();
  await chromium.close();
  if (folder) await rm(folder, { recursive: true });
});

/** Nothing for axe to say, nothing wider than the window, on desktop and phone, in light and dark. */
async function looksRight(page, name) {
  await pageCalled(page, name.split(' ')[0]).waitFor();
  for (const [size, viewport] of Object.entries({ desktop: { width: 1024, height: 768 }, phone: { width: 390, height: 844 } })) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      // Axe must not look at colours that are on their way.
      await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.any[0]?.message}`)}`), [], `${name} ${size} ${colorScheme}`);
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= viewport.width, `${name} ${size}`);
      if (PICTURES) await page.screenshot({ path: `${PICTURES}/${name.replaceAll(' ', '-')}-${size}-${colorScheme}.png`, fullPage: true });
    }
  }
}

async function signIn(page) {
  await page.locator('input[name=login]').fill('eve');
  await page.locator('input[name=password]').fill(PASSWORD);
  await page.locator('input[name=password]').press('Enter');
}

async function ask(page, address) {
  await page.goto(`${root}/profile/email`);
  if (await pageCalled(page, 'sign-in').count()) await signIn(page);
  await pageCalled(page, 'profile-email').waitFor();
  await page.locator('input[name=email]').fill(address);
  await page.locator('input[name=email]').press('Enter');
  await page.locator('#waiting').waitFor();
}

test('a person is invited, asks for another address, and both mailboxes answer', async () => {
  const page = await chromium.window();
  await page.goto(root + (await sink.link('eve@work.example')));
  await page.locator('input[name=password]').fill(PASSWORD);
  await page.locator('input[name=repeat]').fill(PASSWORD);
  await page.locator('input[name=repeat]').press('Enter');
  await pageCalled(page, 'set-up-done').waitFor();

  await ask(page, 'eve@wrong.example');
  await looksRight(page, 'profile-email waiting');
  const mailbox = await chromium.window();
  await mailbox.goto(root + (await sink.link('eve@work.example')));
  await looksRight(mailbox, 'confirm-email old');
  await mailbox.locator('button[value=no]').click();
  await looksRight(mailbox, 'email-answered declined');

  await ask(page, 'eve@home.example');
  await mailbox.goto(root + (await sink.link('eve@home.example')));
  await looksRight(mailbox, 'confirm-email new');
  await mailbox.locator('button[value=yes]').click();
  await looksRight(mailbox, 'email-answered waiting');
  await page.reload();
  assert.match(await page.locator('.lines').innerText(), /eve@home\.example\s+confirmed/);
  await mailbox.goto(root + (await sink.link('eve@work.example')));
  await mailbox.locator('button[value=yes]').click();
  await looksRight(mailbox, 'email-answered changed');
  await page.reload();
  await looksRight(page, 'profile-email changed');
  assert.match(await page.locator('.facts-list').innerText(), /eve@home\.example\s+verified/);
});
