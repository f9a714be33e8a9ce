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

const choose = () => fileInput.click();
const stage = new Stage(canvas, store);
const pointer = new Pointer(canvas, stage, store);
const crosshair = new Crosshair(canvas, stage, store);
const session = new Session(store, client, { askKey: (reason) => keyDialog.ask(reason), choose });
const keyDialog = new KeyDialog(client, keyStore, {
  onAccepted: () => session.retry(),
  onMissing: () => session.reportMissingKey(),
});

new Status(store);
new ObjectList(store);
new Candidates(store, session);
new ExportPanel(store, session);
connectToolbar(store, stage);
connectModels(store);
connectCode(store, () => client.needsKey);
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
addEventListener('hashchange', () => {
  const { key, sample } = consumeFragment(location, history);
  if (key) void keyDialog.use(key);
  openSample(sample);
});
void start();

/** Use the key and the sample in the URL, and connect to the server. */
async function start() {
  const { key, sample } = consumeFragment(location, history);
  if (key) keyStore.key = key;
  openSample(sample);
  await client.connect().catch(() => {});
  byId('key-button', HTMLButtonElement).hidden = !client.needsKey;
  await session.connect();
}

/** @param {string} id */
function openSample(id) {
  const sample = SAMPLES.find((each) => each.id === id);
  if (sample) open(fetchSample(sample), sample.file);
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
