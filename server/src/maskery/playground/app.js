/** Creates the parts of the page and connects them. */

import { Client } from './api/client.js';
import { KeyStore, consumeFragment } from './api/key.js';
import { retryNow } from './api/retry.js';
import { Brush } from './canvas/brush.js';
import { Crosshair } from './canvas/crosshair.js';
import { Pointer } from './canvas/pointer.js';
import { PolygonTool } from './canvas/polygon.js';
import { Stage } from './canvas/stage.js';
import { byId } from './dom.js';
import { SAMPLES, fetchSample, listenForFiles } from './image/sources.js';
import { listenForKeys } from './keyboard.js';
import { Candidates } from './panels/candidates.js';
import { connectCode } from './panels/code.js';
import { Confirmation } from './panels/confirmation.js';
import { connectEditBar } from './panels/edit-bar.js';
import { connectEverything } from './panels/everything.js';
import { ExportPanel } from './panels/export.js';
import { Filmstrip } from './panels/filmstrip.js';
import { Guidance } from './panels/guidance.js';
import { renderHelp } from './panels/help.js';
import { KeyDialog } from './panels/key-dialog.js';
import { LabelList } from './panels/labels.js';
import { connectModels } from './panels/models.js';
import { ObjectList } from './panels/objects.js';
import { ProjectPanel } from './panels/project.js';
import { Status } from './panels/status.js';
import { connectToolbar } from './panels/toolbar.js';
import { connectWelcome } from './panels/welcome.js';
import { Importer } from './project/importer.js';
import { Project } from './project/project.js';
import { ProgressReporter } from './session/progress.js';
import { MaskEditor } from './session/mask-editor.js';
import { Session } from './session/session.js';
import { shortcuts } from './shortcuts.js';
import { Store } from './state/store.js';

/** @typedef {import('./project/project.js').NewImage} NewImage */

const store = new Store();
const keyStore = new KeyStore(sessionStorage);
const client = new Client(keyStore);
const canvas = byId('canvas', HTMLCanvasElement);
const fileInput = byId('file', HTMLInputElement);
const folderInput = byId('folder', HTMLInputElement);

const choose = () => fileInput.click();
const progress = new ProgressReporter(store, retryNow);
const stage = new Stage(canvas, store);
const session = new Session(store, client, progress, { askKey: (reason) => keyDialog.ask(reason), choose });
const editor = new MaskEditor(store, session);
const edit = { brush: new Brush(stage, editor), polygon: new PolygonTool(store, stage, editor) };
const pointer = new Pointer(canvas, stage, store, edit);
const crosshair = new Crosshair(canvas, stage, store, edit);
const project = new Project(store, session, progress);
const importer = new Importer(store, session, project);
const keyDialog = new KeyDialog(client, keyStore, {
  onAccepted: () => session.retry(),
  onMissing: () => session.reportMissingKey(),
});
const confirmation = new Confirmation();

new Status(store);
new ObjectList(store);
new LabelList(store, confirmation);
new Candidates(store, session);
new ExportPanel(store, session, project);
new ProjectPanel(store, session, project, importer, confirmation);
new Filmstrip(store, project, confirmation);
new Guidance(store);
connectEverything(store, session);
connectToolbar(store, stage);
connectEditBar(store, stage, edit.brush, editor);
connectModels(store);
connectCode(store, () => client.needsKey);
connectWelcome(store, (files) => void add(files), choose, () => folderInput.click());
listenForFiles(byId('stage', HTMLElement), [fileInput, folderInput], (files) => void openFiles(files));

const help = byId('help-dialog', HTMLDialogElement);
const groups = shortcuts(store, stage, project, edit, {
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

/** Use the key and the sample in the URL, load the project and connect to the server. */
async function start() {
  const { key, sample } = consumeFragment(location, history);
  if (key) keyStore.key = key;
  await Promise.all([client.connect().catch(() => {}), project.start()]);
  openSample(sample);
  byId('key-button', HTMLButtonElement).hidden = !client.needsKey;
  await session.connect();
}

/** @param {string} id */
function openSample(id) {
  const sample = SAMPLES.find((each) => each.id === id);
  if (sample) void add([fetchSample(sample)]);
}

/**
 * Open images, and import what has been exported.
 *
 * @param {File[]} files
 */
async function openFiles(files) {
  const isImport = (/** @type {File} */ file) => /\.(json|zip)$/i.test(file.name);
  const images = files.filter((file) => !isImport(file));
  if (images.length) await add(images.map((file) => ({ file, name: file.name })));
  for (const file of files.filter(isImport)) await importer.open(file);
}

/** @param {(NewImage | Promise<NewImage>)[]} images */
async function add(images) {
  await project.add(images);
  if (store.state.image && !document.querySelector('dialog[open]')) canvas.focus({ preventScroll: true });
}
