/** The part of an OpenAPI document that {@link withSessions} describes. `SwaggerModule.createDocument()` makes one. */
export interface OpenApiDocument {
  paths: object;
  components?: object;
}

/** An operation, as far as it is described here. */
export interface Operation {
  operationId?: string;
  summary?: string;
  parameters?: object[];
  security?: Record<string, readonly string[]>[];
  responses?: Record<string, object>;
}

type PathItems = Record<string, Record<string, Operation>>;

/** The same document, with the types of its parts. */
export interface Description {
  paths: PathItems;
  webhooks?: PathItems;
  components?: { schemas?: Record<string, object>; securitySchemes?: Record<string, object> };
}
