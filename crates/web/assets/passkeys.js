// Passkeys (WebAuthn Level 2). A form with `data-passkey` is shown where the browser can do it; when it is sent, the
// authenticator is asked first, and what it says goes along. Without this file the other ways go on working.
'use strict';

const toBytes = (text) =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0));

const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

/** The options as the server wrote them, with bytes where the browser wants bytes. */
function read(text) {
  const { publicKey } = JSON.parse(text);
  const named = (list) => (list ?? []).map((credential) => ({ ...credential, id: toBytes(credential.id) }));
  publicKey.challenge = toBytes(publicKey.challenge);
  publicKey.allowCredentials = named(publicKey.allowCredentials);
  publicKey.excludeCredentials = named(publicKey.excludeCredentials);
  if (publicKey.user) publicKey.user.id = toBytes(publicKey.user.id);
  return { publicKey };
}

/** What the authenticator said, as the server reads it. */
function write({ id, rawId, type, response }) {
  const said = {};
  for (const name of ['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature', 'userHandle']) {
    if (response[name]) said[name] = toText(response[name]);
  }
  if (response.getTransports) said.transports = response.getTransports();
  return JSON.stringify({ id, rawId: toText(rawId), type, response: said });
}

async function ask(form) {
  const options = read(form.dataset.options);
  const making = form.dataset.passkey === 'create';
  return write(await (making ? navigator.credentials.create(options) : navigator.credentials.get(options)));
}

function prepare(form) {
  const problem = form.querySelector('[data-problem]');
  form.hidden = false;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (form.ariaBusy === 'true') return;
    form.ariaBusy = 'true';
    problem.hidden = true;
    try {
      form.elements.answer.value = await ask(form);
      form.submit();
    } catch (error) {
      // Taken back, timed out, or already there; browsers do not say more, so that pages cannot spy.
      problem.textContent =
        error.name === 'InvalidStateError' ? form.dataset.known ?? form.dataset.failed : form.dataset.failed;
      problem.hidden = false;
    } finally {
      form.ariaBusy = 'false';
    }
  });
}

if (window.PublicKeyCredential) document.querySelectorAll('form[data-passkey]').forEach(prepare);
