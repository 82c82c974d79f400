// Shows errors of a page's other scripts, which would otherwise stop without a word: an uncaught error, or a file that
// does not load. Not a module, and in the JavaScript of 2009, so that it runs where
// they do not.

(function () {
  "use strict";

  var told = "";

  function show(what) {
    var place = document.getElementById("trouble");
    if (!place || told) return; // the first is the cause, as a rule
    told = what;
    place.textContent = "A part of this page does not work in this browser: " + what;
    place.hidden = false;
  }

  function tell(what) {
    if (document.body) show(what);
    else document.addEventListener("DOMContentLoaded", function () { show(what); });
  }

  // In the capture phase, so that it also gets the error of a file that does not load.
  window.addEventListener("error", function (event) {
    var from = event.target && (event.target.src || event.target.href);
    var what = event.message || (from && "it cannot load " + from);
    if (what) tell(what);
  }, true);

  window.addEventListener("unhandledrejection", function (event) { tell(String(event.reason)); });
}());
