// Pages in a real browser: console errors, an accessibility check (axe), pictures at two widths.
//
//   npm install --prefix TOOLS axe-core puppeteer-core        # and a Chromium of the system
//   NODE_PATH=TOOLS/node_modules node benchmarks/pages.mjs --browser=/usr/bin/chromium --out=DIR PAGE...
//
// Light and dark, 1,280 and 400 pixels wide. Exits with 1 where a page asks for anything, says
// something on the console, scrolls sideways, or breaks a rule.
import {createRequire} from 'node:module';
import path from 'node:path';
import fs from 'node:fs';
import url from 'node:url';

const require = createRequire(import.meta.url);
const puppeteer = require('puppeteer-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const options = Object.fromEntries(process.argv.slice(2).filter(a => a.startsWith('--'))
  .map(a => a.slice(2).split('=')));
const pages = process.argv.slice(2).filter(a => !a.startsWith('--'));
const browser = await puppeteer.launch({executablePath: options.browser, args: ['--no-sandbox']});
let bad = 0;

for (const [number, file] of pages.entries()) {
  for (const width of [1280, 400]) {
    for (const scheme of ['light', 'dark']) {
      const page = await browser.newPage();
      const said = [];
      const address = url.pathToFileURL(path.resolve(file)).href;
      page.on('console', message => said.push(`console: ${message.text()}`));
      page.on('pageerror', error => said.push(`error: ${error.message}`));
      page.on('request', asked => {
        if (asked.url() !== address && !asked.url().startsWith('data:')) said.push(`asks for ${asked.url()}`);
      });
      await page.emulateMediaFeatures([{name: 'prefers-color-scheme', value: scheme}]);
      await page.setViewport({width, height: 900});
      await page.goto(address);
      for (const details of await page.$$('details')) await details.evaluate(d => { d.open = true; });
      await page.evaluate(axe);
      const found = await page.evaluate(() => axe.run(document, {resultTypes: ['violations']}));
      for (const rule of found.violations) {
        said.push(`${rule.impact} ${rule.id}: ${rule.help} (${rule.nodes.length}), ${rule.nodes[0].html.slice(0, 120)}`);
      }
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (beyond > 0) said.push(`${beyond} pixels beyond the right edge`);
      if (options.out) {
        await page.screenshot({path: path.join(options.out, `${number}_${width}_${scheme}.png`), fullPage: true});
      }
      console.log(`${file} ${width} ${scheme}: ${found.passes.length} rules passed, ${said.length} complaints`);
      for (const line of said) console.log(`  ${line}`);
      bad += said.length;
      await page.close();
    }
  }
}
await browser.close();
process.exit(bad ? 1 : 0);
