// Shared by the scripts of both pages. trouble.js, which each page loads first, shows errors that attempt() lets out.

export const $ = (name) => document.getElementById(name);

// Runs a step, and goes on if it fails: the page connects even if something cannot be drawn.
export function attempt(step) {
  try {
    step();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

// Returns somebody else's text as a part of a sentence. It may run from right to left, and its neighbours do not.
// So it is isolated, and characters that would end the isolation are removed.
export function isolated(text) {
  const isPlain = /^[ -~]*$/.test(text);
  return isPlain ? text : `\u2068${text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u2066-\u2069]/g, "")}\u2069`;
}

const CONTROLS = "a[href], button, input, select, textarea, [tabindex]";

const canHaveFocus = (control) => !control.disabled && control.getClientRects().length > 0;

// Changes the controls. If that removes the control that has the focus, the next one gets it: otherwise the
// keyboard would begin at the top of the page again.
export function keepFocus(change) {
  const before = document.activeElement;
  change();
  if (!before || before === document.body || canHaveFocus(before)) return;
  const controls = [...document.querySelectorAll(CONTROLS)].filter((one) => one.tabIndex >= 0 && canHaveFocus(one));
  const follows = (one) => before.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING;
  (controls.find(follows) ?? controls[controls.length - 1])?.focus();
}
