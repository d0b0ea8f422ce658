import type { Schema } from "effect"

/**
 * An object as whoever gets it reads it. Names with backslashes are left out: V8 as it is in Node 24 reads an escape in a name
 * wrongly where it has seen a name that begins with a backslash.
 */
export const sent = (value: unknown): Schema.JsonObject =>
  JSON.parse(JSON.stringify(value).replaceAll(String.raw`\\`, "/"))
