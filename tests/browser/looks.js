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

/** What Tab does not reach, and what does not show that it has the focus. */
async function refusalsOfTheKeyboard(page) {
  await page.evaluate(() => {
    document.activeElement?.blur();
    const all = document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]');
    const radios = new Set();
    globalThis.waiting = new Set([...all].filter((element) => {
      if (element.disabled || !element.checkVisibility({ visibilityProperty: true })) return false;
      // Of a group of radio buttons one is reached; arrows lead to the others.
      if (element.type !== 'radio') return true;
      return !radios.has(element.name) && radios.add(element.name);
    }));
    globalThis.plain = [];
  });
  const count = await page.evaluate(() => globalThis.waiting.size);
  for (let presses = 0; presses < 3 * count + 10 && (await page.evaluate(() => globalThis.waiting.size)); presses += 1) {
    await page.keyboard.press('Tab');
    await page.evaluate(() => {
      const element = document.activeElement;
      const group = element.type === 'radio' ? [...globalThis.waiting].find((other) => other.name === element.name) : element;
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
      const isSeen = (outlineStyle !== 'none' && parseFloat(outlineWidth) > 0) || boxShadow !== 'none';
      if (globalThis.waiting.delete(group) && !isSeen) globalThis.plain.push(element.outerHTML);
    });
  }
  return page.evaluate(() => {
    document.activeElement.blur();
    // What came into view for the focus goes back to where people find it.
    document.querySelectorAll('.scroll').forEach((part) => part.scrollTo(0, 0));
    return [...[...globalThis.waiting].map((element) => element.outerHTML), ...globalThis.plain];
  });
}

const backgroundOf = (page) =>
  page.evaluate(() => getComputedStyle(document.body).backgroundColor + getComputedStyle(document.documentElement).backgroundColor);

/** By keyboard; on desktop and phone, in light and dark. The page's `data-page` is the first word of `name`; `walk` leads to it. */
export async function looksGood(chromium, name, walk) {
  // Colours that glide from one scheme to the other are neither.
  const page = await chromium.window({ reducedMotion: 'reduce' });
  await walk(page);
  await pageCalled(page, name.split(' ')[0]).waitFor();
  assert.deepEqual(await refusalsOfTheKeyboard(page), [], 'by keyboard');
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
