/** Creates the parts of the page and connects them. */

import { Client } from './api/client.js';
import { KeyStore, consumeFragment } from './api/key.js';
import { Crosshair } from './canvas/crosshair.js';
import { Pointer } from './canvas/pointer.js';
import { Stage } from './canvas/stage.js';
import { byId } from './dom.js';
import { SAMPLES, fetchSample, listenForImages } from './image/sources.js';
import { listenForKeys } from './keyboard.js';
import { Candidates } from './panels/candidates.js';
import { connectCode } from './panels/code.js';
import { ExportPanel } from './panels/export.js';
import { renderHelp } from './panels/help.js';
import { KeyDialog } from './panels/key-dialog.js';
import { connectModels } from './panels/models.js';
import { ObjectList } from './panels/objects.js';
import { Status } from './panels/status.js';
import { connectToolbar } from './panels/toolbar.js';
import { connectWelcome } from './panels/welcome.js';
import { Session } from './session/session.js';
import { shortcuts } from './shortcuts.js';
import { Store } from './state/store.js';

const store = new Store();
const keyStore = new KeyStore(sessionStorage);
const client = new Client(keyStore);
const canvas = byId('canvas', HTMLCanvasElement);
const fileInput = byId('file', HTMLInputElement);
let needsKey = true;

const choose = () => fileInput.click();
const stage = new Stage(canvas, store);
const pointer = new Pointer(canvas, stage, store);
const crosshair = new Crosshair(canvas, stage, store);
const session = new Session(store, client, { askKey: (reason) => keyDialog.open(reason), choose });
const keyDialog = new KeyDialog(client, keyStore, () => session.retry());

new Status(store);
new ObjectList(store);
new Candidates(store, session);
new ExportPanel(store, session);
connectToolbar(store, stage);
connectModels(store);
connectCode(store, () => needsKey);
connectWelcome(store, open, choose);
listenForImages(byId('stage', HTMLElement), fileInput, open);

const help = byId('help-dialog', HTMLDialogElement);
const groups = shortcuts(store, stage, {
  open: choose,
  help: () => help.showModal(),
  cancel: () => void (pointer.cancel() || crosshair.cancel()),
  focusCanvas: () => canvas.focus(),
});
renderHelp(groups);
listenForKeys(groups);
byId('help-button', HTMLButtonElement).addEventListener('click', () => help.showModal());
byId('help-close', HTMLButtonElement).addEventListener('click', () => help.close());
addEventListener('hashchange', () => void start());
void start();

/** Use the key and the sample that the URL names, and connect to the server. */
async function start() {
  const fragment = consumeFragment(location, history);
  if (fragment.key) keyStore.key = fragment.key;
  const sample = SAMPLES.find(({ id }) => id === fragment.sample);
  if (sample) open(fetchSample(sample), sample.file);
  const server = await client.server().catch(() => null);
  needsKey = server?.key_needed ?? true;
  byId('key-button', HTMLButtonElement).hidden = !needsKey;
  if (needsKey && !keyStore.key) {
    keyDialog.open('');
    return;
  }
  await session.connect();
}

/**
 * @param {Blob | Promise<Blob>} file
 * @param {string} name
 */
function open(file, name) {
  void session.open(file, name).then(() => {
    if (store.state.image && !document.querySelector('dialog[open]')) canvas.focus({ preventScroll: true });
  });
}
