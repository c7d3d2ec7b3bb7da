// Every page is this one document; what it shows is made by the module of its name.
import { compare } from "./compare.js";
import { list } from "./list.js";
import { compose } from "./new.js";
import { run } from "./run.js";

// The token was needed once: from now on a cookie has it, and it need not stand in the history.
const place = new URL(window.location);
if (place.searchParams.has("token")) {
  place.searchParams.delete("token");
  history.replaceState(null, "", place);
}

const pages = { list, run, compare, new: compose };
pages[document.body.dataset.page](document.getElementById("main"), place.searchParams);
