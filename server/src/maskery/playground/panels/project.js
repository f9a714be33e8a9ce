/** The project: saving it to a file, loading, importing, starting anew. */

import { byId } from '../dom.js';
import { download } from '../export/names.js';
import { writeProject } from '../project/project-file.js';

/** @typedef {import('../project/importer.js').Importer} Importer */
/** @typedef {import('../project/project.js').Project} Project */
/** @typedef {import('../session/session.js').Session} Session */
/** @typedef {import('../state/store.js').Store} Store */
/** @typedef {import('./confirmation.js').Confirmation} Confirmation */

export class ProjectPanel {
  /**
   * @param {Store} store
   * @param {Session} session
   * @param {Project} project
   * @param {Importer} importer
   * @param {Confirmation} confirmation
   */
  constructor(store, session, project, importer, confirmation) {
    const save = byId('save-project', HTMLButtonElement);
    const clear = byId('clear-project', HTMLButtonElement);
    const input = byId('import-file', HTMLInputElement);
    const warning = byId('unsaved', HTMLButtonElement);
    const saveFile = () => void saveProject(store, project).catch((error) => session.fail(error));
    save.addEventListener('click', saveFile);
    warning.addEventListener('click', saveFile);
    byId('import', HTMLButtonElement).addEventListener('click', () => input.click());
    input.addEventListener('change', async () => {
      for (const file of input.files ?? []) await importer.open(file);
      input.value = '';
    });
    clear.addEventListener('click', async () => {
      const { length } = store.state.images.items;
      const lost = `${length === 1 ? 'Its image is' : `Its ${length} images are`} removed from the browser, with all objects and labels.`;
      const text = `${lost} This cannot be undone. Save the project first to keep it.`;
      if (await confirmation.ask('Start a new project?', text, 'Start a new project')) await project.clear();
    });
    store.subscribe(({ images, unsaved }) => {
      save.disabled = clear.disabled = images.items.length === 0;
      warning.hidden = !unsaved;
      warning.title = `This project is not saved. ${unsaved} Click to save it to a file.`;
    });
  }
}

/**
 * @param {Store} store
 * @param {Project} project
 */
async function saveProject(store, project) {
  const images = project.images.map((image) => ({ image, work: project.workOf(image.id) }));
  download(await writeProject(images, store.state.labels), 'maskery-project.zip');
}
