/**
 * Signs that a protocol is spoken at a server, in the looser forms that are seen in the wild. They explain and help to find;
 * nothing is ever paid because of one.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"
import type * as Challenge from "./mpp/Challenge.ts"

/**
 * The most hints that are kept of one answer.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxHints = 16

const word = /^[a-z0-9][a-z0-9./_-]{0,31}$/

/** The words of a list: an array, or a text with commas or spaces. */
const wordsOf = (list: Schema.Json | undefined): ReadonlyArray<string> => {
  const items = Array.isArray(list) ? list.slice(0, maxHints) : [list]
  return items
    .flatMap((item) => typeof item === "string" ? item.slice(0, 1024).toLowerCase().split(/[\s,]+/) : [])
    .filter((item) => word.test(item))
}

const fromOutcome = (outcome: Challenge.Outcome): ReadonlyArray<string> => {
  if (outcome._tag !== "Malformed" && outcome._tag !== "Unsupported") return []
  const listed = outcome._tag === "Unsupported" ? wordsOf(outcome.params.get("protocols_supported")) : []
  return ["payment", ...listed].map((protocol) => `www-authenticate: ${protocol}`)
}

/**
 * The hints of an answer, each with the place where it was seen: `protocols-supported: mpp`, `body: x402`,
 * `www-authenticate: payment`, `x-agent-catalog`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const read = (
  headers: { readonly [name: string]: string | undefined },
  body: Schema.JsonObject | undefined,
  outcomes: ReadonlyArray<Challenge.Outcome>
): ReadonlyArray<string> => {
  const hints = [
    ...outcomes.flatMap(fromOutcome),
    ...wordsOf(headers["protocols-supported"]).map((protocol) => `protocols-supported: ${protocol}`),
    ...wordsOf(body?.protocols_supported ?? body?.protocolsSupported).map((protocol) => `body: ${protocol}`),
    ...(headers["x-payment-required"] === undefined ? [] : ["x-payment-required: x402"]),
    ...["x-asset-preview-url", "x-agent-catalog"].filter((name) => headers[name] !== undefined)
  ]
  return [...new Set(hints)].slice(0, maxHints)
}
