/** A user's way through the page in Firefox: click, brush, reload, export. Prints JSON. Arguments: URL, folder. */

import puppeteer from 'puppeteer-core';

const [url, executablePath, downloads] = process.argv.slice(2);
const browser = await puppeteer.launch({
  browser: 'firefox',
  executablePath,
  headless: true,
  extraPrefsFirefox: { 'browser.download.folderList': 2, 'browser.download.dir': downloads },
});
try {
  const page = await browser.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.setViewport({ width: 1200, height: 800 });
  await page.goto(url);
  await page.waitForSelector('#canvas[data-view]');
  await page.waitForFunction(() => document.querySelectorAll('#model option').length > 0);
  const [scale, left, top] = (await page.$eval('#canvas', (canvas) => canvas.dataset.view)).split(' ').map(Number);
  const box = await (await page.$('#canvas')).boundingBox();
  const at = (x, y) => [box.x + left + (x + 0.5) * scale, box.y + top + (y + 0.5) * scale];
  const summaries = () => page.$$eval('#objects .summary', (found) => found.map((each) => each.textContent));
  const masks = (count) =>
    page.waitForFunction(
      (wanted) => [...document.querySelectorAll('#objects .summary')].filter((each) => each.textContent.includes('px')).length === wanted,
      {},
      count,
    );

  await page.mouse.click(...at(285, 60));
  await masks(1);
  await page.keyboard.press('n');
  await page.keyboard.press('p');
  await page.mouse.move(...at(60, 330));
  await page.mouse.down();
  await page.mouse.move(...at(160, 340), { steps: 4 });
  await page.mouse.up();
  await masks(2);
  // Changes are saved after 200 ms.
  await new Promise((resolve) => setTimeout(resolve, 600));
  const before = await summaries();
  await page.reload();
  await masks(2);
  await page.click('#export-mask');
  await new Promise((resolve) => setTimeout(resolve, 1500));
  console.log(JSON.stringify({ before, after: await summaries(), errors }));
} finally {
  await browser.close();
}
