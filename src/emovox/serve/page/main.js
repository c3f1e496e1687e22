import { start } from "./app.js";
import { HttpEngine } from "./engine-http.js";

start(new HttpEngine(new URL(".", document.baseURI)));
