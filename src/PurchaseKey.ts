/**
 * Which requests are the same purchase.
 *
 * An equal request resumes a purchase that was paid for and not delivered. So everything that could select other content,
 * or other content for somebody else, belongs into the key; only its digest is kept.
 *
 * @since 0.1.0
 */
import type * as HttpBody from "effect/http/HttpBody"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import { sha256, stringToBytes } from "viem/utils"
import * as Json from "./wire/Json.ts"

/** Headers that change from one request to the next and select nothing. */
const passing: ReadonlySet<string> = new Set([
  "accept-encoding",
  "b3",
  "connection",
  "content-length",
  "date",
  "traceparent",
  "tracestate",
  "user-agent",
  "x-correlation-id",
  "x-request-id"
])

const digest = (value: unknown): string => sha256(stringToBytes(JSON.stringify(value)))

/** A digest of the body, or `undefined` where its bytes are not at hand. */
const contentOf = (body: HttpBody.HttpBody): string | undefined => {
  switch (body._tag) {
    case "Empty":
      return ""
    case "Uint8Array":
      return sha256(body.body)
    case "Raw":
      return typeof body.body === "string" || body.body instanceof URLSearchParams
        ? digest(String(body.body))
        : body.body instanceof Uint8Array
        ? sha256(body.body)
        : undefined
    case "FormData": {
      const fields = [...body.formData.entries()]
      return fields.every(([, value]) => typeof value === "string") ? digest(fields) : undefined
    }
    case "Stream":
      return undefined
  }
}

/**
 * The key of a request's purchase: equal for equal requests of one agent. `undefined` for a request that no other equals.
 *
 * **Details**
 *
 * A request with an `Idempotency-Key` is named by that key, within its URL and for whoever it is authorised as, whatever its
 * body. Any other is named by its method, URL, body and all of its headers but those that only pass by (tracing, dates).
 *
 * @category constructors
 * @since 0.1.0
 */
export const of = (
  agent: string,
  request: HttpClientRequest.HttpClientRequest,
  url: URL
): string | undefined => {
  const { headers, method } = request
  const where = [agent, method, url.origin, url.pathname, url.search]
  const idempotency = headers["idempotency-key"]
  if (idempotency !== undefined) {
    return digest([...where, idempotency, headers["authorization"] ?? "", headers["cookie"] ?? ""])
  }
  const content = contentOf(request.body)
  if (content === undefined) return undefined
  const selecting = Object.entries(headers).filter(([name]) => !passing.has(name)).toSorted()
  return digest([...where, content, selecting])
}

/** Metadata of a call that changes from one call to the next, or says the same with all of them, and selects nothing. */
const passingMetadata = /^(?:progressToken|traceparent|tracestate|baggage|io\.modelcontextprotocol\/.*)$/

/** Without what passes by, as one text per value. Arguments that are nested too deeply to be read keep their order. */
const contentOfCall = ({ _meta, ...params }: { readonly [name: string]: unknown }): string => {
  const selecting = Object.entries(_meta ?? {}).filter(([name]) => !passingMetadata.test(name))
  const text = JSON.stringify({ ...params, _meta: Object.fromEntries(selecting) })
  return Option.match(Json.parseObject(text), { onNone: () => text, onSome: Json.canonical })
}

/**
 * The key of a call's purchase, where a server is called by the names of its methods: equal for equal calls of one agent,
 * whatever the order in which their arguments are written. `server` tells it from others of its origin, and for whom it
 * answers. `undefined` for parameters that cannot be written.
 *
 * @category constructors
 * @since 0.1.0
 */
export const ofCall = (
  agent: string,
  server: string,
  method: string,
  params: { readonly [name: string]: unknown }
): string | undefined =>
  Option.liftThrowable(() => digest(["call", agent, server, method, contentOfCall(params)]))().pipe(
    Option.getOrUndefined
  )
