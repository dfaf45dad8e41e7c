// The served page begins here.

import { start } from "./page.js";
import { Served } from "./served.js";

start(new Served());
