// Starts Swagger UI on the document of the token APIs, which lies beside the folder that this script is in.
"use strict";

window.ui = SwaggerUIBundle({
  url: new URL("../openapi.json", document.currentScript.src).href,
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  docExpansion: "list",
  // No other host is asked whether the document is valid.
  validatorUrl: null,
});
