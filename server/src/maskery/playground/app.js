/** Puts the page together. */

import { Client } from './api/client.js';
import { Keyring, takeFragment } from './api/key.js';
import { Crosshair } from './canvas/crosshair.js';
import { Pointer } from './canvas/pointer.js';
import { Stage } from './canvas/stage.js';
import { byId } from './dom.js';
import { listenToKeys } from './keyboard.js';
import { wireCode } from './panels/code.js';
import { fillHelp } from './panels/help.js';
import { KeyDialog } from './panels/keydialog.js';
import { wireModels } from './panels/models.js';
import { Objects } from './panels/objects.js';
import { Readings } from './panels/readings.js';
import { Status } from './panels/status.js';
import { TakeAway } from './panels/takeaway.js';
import { wireToolbar } from './panels/toolbar.js';
import { wireWelcome } from './panels/welcome.js';
import { SAMPLES, fetchSample, listenForPictures } from './picture/sources.js';
import { Session } from './session/session.js';
import { shortcuts } from './shortcuts.js';
import { Store } from './state/store.js';

const store = new Store();
const keyring = new Keyring(sessionStorage);
const client = new Client(keyring);
const canvas = byId('canvas', HTMLCanvasElement);
const chooser = byId('file', HTMLInputElement);
let keyNeeded = true;

const choose = () => chooser.click();
const stage = new Stage(canvas, store);
const pointer = new Pointer(canvas, stage, store);
const crosshair = new Crosshair(canvas, stage, store);
const session = new Session(store, client, { askKey: (why) => keyDialog.open(why), choose });
const keyDialog = new KeyDialog(client, keyring, () => session.again());

new Status(store);
new Objects(store);
new Readings(store, session);
new TakeAway(store, session);
wireToolbar(store, stage);
wireModels(store);
wireCode(store, () => keyNeeded);
wireWelcome(store, open, choose);
listenForPictures(byId('stage', HTMLElement), chooser, open);

const help = byId('help-dialog', HTMLDialogElement);
const groups = shortcuts(store, stage, {
  open: choose,
  help: () => help.showModal(),
  leave: () => void (pointer.abandon() || crosshair.abandon()),
  focusStage: () => canvas.focus(),
});
fillHelp(groups);
listenToKeys(groups);
byId('help-button', HTMLButtonElement).addEventListener('click', () => help.showModal());
byId('help-close', HTMLButtonElement).addEventListener('click', () => help.close());
addEventListener('hashchange', () => void begin());
void begin();

/** What the address asks for, then what the server says. */
async function begin() {
  const asked = takeFragment(location, history);
  if (asked.key) keyring.keep(asked.key);
  const sample = SAMPLES.find(({ id }) => id === asked.sample);
  if (sample) open(fetchSample(sample), sample.file);
  const server = await client.server().catch(() => null);
  keyNeeded = server?.key_needed ?? true;
  byId('key-button', HTMLButtonElement).hidden = !keyNeeded;
  if (keyNeeded && !keyring.key) {
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
    if (store.state.picture && !document.querySelector('dialog[open]')) canvas.focus({ preventScroll: true });
  });
}
