// How a page looks to people: accessible to all, and fitting, wherever it is opened. With GATEHOUSE_PICTURES naming a folder,
// pictures are left there.
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { pageCalled } from './chromium.js';

const PICTURES = process.env.GATEHOUSE_PICTURES;
const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SIZES = { desktop: { width: 1024, height: 768 }, phone: { width: 390, height: 844 } };

if (PICTURES) await mkdir(PICTURES, { recursive: true });

async function refusalsOfAxe(page) {
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
}

const backgroundOf = (page) =>
  page.evaluate(() => getComputedStyle(document.body).backgroundColor + getComputedStyle(document.documentElement).backgroundColor);

/** On desktop and phone, in light and dark. The page's `data-page` is the first word of `name`; `walk` leads to it. */
export async function looksGood(chromium, name, walk) {
  // Colours that glide from one scheme to the other are neither.
  const page = await chromium.window({ reducedMotion: 'reduce' });
  await walk(page);
  await pageCalled(page, name.split(' ')[0]).waitFor();
  await page.evaluate(AXE);
  const backgrounds = new Set();
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      const screen = `${size}-${colorScheme}`;
      assert.deepEqual(await refusalsOfAxe(page), [], screen);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= viewport.width, `${screen}: ${wide} px wide`);
      backgrounds.add(await backgroundOf(page));
      if (PICTURES) await page.screenshot({ path: `${PICTURES}/${name.replaceAll(' ', '-')}-${screen}.png`, fullPage: true });
    }
  }
  await page.context().close();
  assert.equal(backgrounds.size, 2, 'light and dark look different');
}
