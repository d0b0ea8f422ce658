/**
 * The request that a command is about, as its flags describe it.
 *
 * @since 0.1.0
 */
import * as Argument from "effect/cli/Argument"
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Amount from "../Amount.ts"
import type * as Payment from "../Payment.ts"
import * as Rails from "../Rails.ts"
import { Usage } from "./Exit.ts"
import { version } from "./version.ts"

const methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] as const

type Method = (typeof methods)[number]

/** What was typed is not repeated where it may hold a secret. */
const invalid = (kind: "flag" | "argument", option: string, value: string, expected: string) =>
  Effect.fail(new CliError.InvalidValue({ kind, option, value, expected }))

const parseUrl = (text: string): Effect.Effect<URL, CliError.CliError> => {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol)) {
    return invalid("argument", "url", text, "Expected an http or https URL")
  }
  return url.username === "" && url.password === ""
    ? Effect.succeed(url)
    : invalid("argument", "url", url.host, "Expected a URL without a user and password in it: send them as a header")
}

const parseHeader = (line: string): Effect.Effect<readonly [string, string], CliError.CliError> => {
  const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)$/.exec(line) ?? []
  return name === undefined || value === undefined
    ? invalid("flag", "header", line.split(":", 1)[0]!.slice(0, 40), "Expected \"Name: value\"")
    : Effect.succeed([name.toLowerCase(), value.trim()])
}

/**
 * The argument and the flags that describe a request and its payment.
 *
 * @category flags
 * @since 0.1.0
 */
export const flags = {
  url: Argument.String("url").pipe(
    Argument.withDescription("What to ask for"),
    Argument.mapEffect(parseUrl)
  ),
  method: Flag.Literals("request", methods).pipe(
    Flag.withAlias("X"),
    Flag.withMetavar("METHOD"),
    Flag.withDescription("The method; GET, or POST if there is data"),
    Flag.optional
  ),
  headers: Flag.String("header").pipe(
    Flag.withAlias("H"),
    Flag.withMetavar("\"NAME: VALUE\""),
    Flag.withDescription("A header of the request; may be repeated"),
    Flag.mapEffect(parseHeader),
    Flag.atLeast(0)
  ),
  data: Flag.String("data").pipe(
    Flag.withAlias("d"),
    Flag.withMetavar("DATA|@FILE|@-"),
    Flag.withDescription("The body of the request: text, a file, or stdin"),
    Flag.optional
  ),
  max: Flag.String("max").pipe(
    Flag.withMetavar("USD"),
    Flag.withDescription("The most that this request may cost; lowers the ceiling, never raises it"),
    Flag.withSchema(Amount.UsdFromString),
    Flag.optional
  ),
  expect: Flag.Int("expect").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("How many paid requests are to follow at this origin; five or more are worth a session"),
    Flag.filter((count) => count >= 1, () => "Expected a number of requests, at least 1"),
    Flag.optional
  ),
  rails: Flag.String("rail").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("Pay on this rail only, such as x402/exact; may be repeated"),
    Flag.atLeast(0)
  )
}

/**
 * What the flags say.
 *
 * @category models
 * @since 0.1.0
 */
export interface Asked {
  readonly url: URL
  readonly method: Option.Option<Method>
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly data: Option.Option<string>
  readonly max: Option.Option<bigint>
  readonly expect: Option.Option<number>
  readonly rails: ReadonlyArray<string>
}

const read = (data: string) =>
  data === "@-"
    ? Effect.flatMap(Stdio.Stdio, ({ stdin }) => Stream.mkUint8Array(stdin))
    : data.startsWith("@")
    ? Effect.flatMap(FileSystem.FileSystem, (files) => files.readFile(data.slice(1)))
    : Effect.succeed(new TextEncoder().encode(data))

/**
 * Builds the request. A body is read whole before anything is sent, so that it can be sent again with a payment.
 *
 * @category constructors
 * @since 0.1.0
 */
export const request = Effect.fnUntraced(function*(asked: Asked) {
  const method: Method = Option.getOrElse(asked.method, () => Option.isSome(asked.data) ? "POST" : "GET")
  if (Option.isSome(asked.data) && (method === "GET" || method === "HEAD")) {
    return yield* new Usage({ message: `A ${method} request has no body: leave --data out, or choose another method` })
  }
  const headers = new Map<string, string>([["user-agent", `mpp/${version}`]])
  for (const [name, value] of asked.headers) {
    const before = name === "user-agent" ? undefined : headers.get(name)
    headers.set(name, before === undefined ? value : `${before}${name === "cookie" ? "; " : ", "}${value}`)
  }
  const bare = HttpClientRequest.make(method)(asked.url, { headers: Object.fromEntries(headers) })
  if (Option.isNone(asked.data)) return bare
  const type = headers.get("content-type") ?? "application/x-www-form-urlencoded"
  return HttpClientRequest.setBody(bare, HttpBody.uint8Array(yield* read(asked.data.value), type))
})

/** The rails of this project: naming one that is not configured is not a mistake in writing. */
const known: ReadonlyArray<string> = ["mpp/token-session", "tempo/charge", "tempo/session", "evm/charge", "x402/exact"]

/**
 * What the flags say of the payment.
 *
 * @category constructors
 * @since 0.1.0
 */
export const options = Effect.fnUntraced(function*({ expect, max, rails }: Asked) {
  const registry = yield* Rails.Rails
  const names = new Set([...known, ...(yield* registry.all).map(({ name }) => name)])
  const stranger = rails.find((name) => !names.has(name))
  if (stranger !== undefined) {
    return yield* new Usage({ message: `There is no rail of that name. Known rails: ${[...names].join(", ")}` })
  }
  const given: Payment.Options = {
    ...(Option.isSome(max) ? { max: max.value } : {}),
    ...(Option.isSome(expect) ? { expect: expect.value } : {}),
    ...(rails.length > 0 ? { rails } : {})
  }
  return given
})
