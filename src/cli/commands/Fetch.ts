/**
 * `mpp fetch`: asks for a URL, and pays for it if that is demanded and allowed.
 *
 * @since 0.1.0
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Headers from "effect/http/Headers"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import type { PlatformError } from "effect/PlatformError"
import * as Ref from "effect/Ref"
import type * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as PayingClient from "../../PayingClient.ts"
import * as Payment from "../../Payment.ts"
import { PaymentError } from "../../PaymentError.ts"
import * as Session from "../../Session.ts"
import * as Transport from "../../Transport.ts"
import type { Agents } from "../Agents.ts"
import * as Asked from "../Asked.ts"
import { bug, Interrupted, Stopped } from "../Exit.ts"
import * as Output from "../Output.ts"
import * as Paid from "../Paid.ts"
import * as Quoted from "../Quoted.ts"
import * as Report from "../Report.ts"
import * as Standing from "../Standing.ts"

type Response = HttpClientResponse.HttpClientResponse

interface Input extends Asked.Asked {
  readonly output: Option.Option<string>
  readonly dryRun: boolean
}

/** The file is opened before anything is paid, and emptied only when there is something to put into it. */
const openFile = Effect.fnUntraced(function*(path: string) {
  const files = yield* FileSystem.FileSystem
  const file = yield* files.open(path, { flag: "a" })
  return Effect.fnUntraced(function*(body: Response["stream"]) {
    yield* file.truncate()
    yield* Stream.runForEach(body, (bytes) => file.writeAll(bytes))
  })
})

const toStdout = (body: Response["stream"]) =>
  Effect.flatMap(Stdio.Stdio, (stdio) => {
    const sink: Sink.Sink<void, string | Uint8Array, never, PlatformError> = stdio.stdout()
    return Stream.run(body, sink)
  })

/** An answer without a body has an empty one. */
const bodyOf = (response: Response): Response["stream"] =>
  Stream.catchIf(response.stream, (error) => error.reason._tag === "EmptyBodyError", () => Stream.empty)

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Text as it is; other bytes in base64, and marked. */
const bodyJson = (bytes: Uint8Array): Output.JsonObject => {
  try {
    return { body: utf8.decode(bytes) }
  } catch {
    return { body: Buffer.from(bytes).toString("base64"), bodyEncoding: "base64" }
  }
}

const headersJson = Effect.map(
  Headers.CurrentRedactedNames,
  (names) => (headers: Headers.Headers) =>
    Object.fromEntries(
      Object.entries(Headers.redact(headers, [...names, ...Transport.redactedHeaders]))
        .map(([name, value]) => [name, String(value)])
    )
)

/** Something may have been paid, and the content is not where it was wanted: no ordinary failure. */
const failed = (since: number, json: boolean, error: Report.Failure) =>
  error._tag === "PaymentError" ? Report.failedWithBudget(error, json) : Effect.matchEffect(Paid.since(since), {
    onFailure: (unreadable) => Report.failedWithBudget(unreadable, json, "unknown"),
    onSuccess: (paid) =>
      Option.isNone(paid)
        ? Report.failedWithBudget(error, json)
        : Paid.isDelivered(paid.value)
        ? Report.failedWithBudget(error, json, "spent")
        : Report.failedWithBudget(Paid.undelivered(paid.value), json)
  })

const interrupted = Effect.fnUntraced(function*(since: number, json: boolean) {
  const isTold = yield* Effect.flatMap(Output.Told, Ref.get)
  const paid = yield* Paid.since(since)
  if (isTold || Option.isNone(paid)) return
  const { status } = yield* Effect.flip(failed(since, json, new Stopped()))
  yield* Effect.flatMap(Interrupted, Ref.set(status))
})

const dryRun = Effect.fnUntraced(function*(input: Input) {
  const json = yield* Output.Json
  const quoted = yield* Quoted.ask(input)
  if (Option.isSome(quoted.failure)) {
    return yield* new PaymentError({ reason: quoted.failure.value, money: "unspent", origin: input.url.origin })
  }
  if (json) {
    const budget = Standing.toJson(yield* Standing.readAgent)
    return yield* Output.printJson({ dryRun: true, ...Quoted.toJson(quoted), payment: null, budget })
  }
  yield* Output.print([Quoted.headline(quoted), Quoted.toTable(quoted)].filter((part) => part !== "").join("\n\n"))
})

/** One request is done: what its session did not spend is back before the budget is read. */
const closeSessions = Effect.flatMap(Session.Session, ({ closeAll }) => closeAll)

const fetchNow = Effect.fnUntraced(function*(input: Input, since: number) {
  const json = yield* Output.Json
  const client = yield* PayingClient.PayingClient
  const request = yield* Asked.request(input)
  const options = yield* Asked.options(input)
  const write = Option.isSome(input.output) && input.output.value !== "-"
    ? Option.some(yield* openFile(input.output.value))
    : Option.none()
  const response = yield* Payment.with(client.execute(request), options)
  const body = bodyOf(response)
  const content = Option.isSome(write)
    ? yield* Effect.as(write.value(body), { body: null })
    : json
    ? bodyJson(yield* Stream.mkUint8Array(body))
    : yield* Effect.as(toStdout(body), {})

  yield* closeSessions
  const paid = yield* Paid.since(since)
  const standing = yield* Standing.readAgent
  if (json) {
    return yield* Output.printJson({
      status: response.status,
      headers: (yield* headersJson)(response.headers),
      ...content,
      payment: Option.isSome(paid) ? yield* Paid.toJson(paid.value, response) : null,
      budget: Standing.toJson(standing)
    })
  }
  if (response.status >= 400) yield* Output.note(`the server answered ${response.status}`)
  if (Option.isSome(paid)) {
    const budget = Standing.toJson(standing)
    yield* Output.note(`${Paid.toLine(paid.value)}; $${budget.remaining} of $${budget.limit} left`)
  }
})

const run = Effect.fnUntraced(function*(input: Input) {
  if (input.dryRun) return yield* dryRun(input)
  const json = yield* Output.Json
  const since = yield* Clock.currentTimeMillis
  return yield* Effect.scoped(fetchNow(input, since)).pipe(
    Effect.ensuring(closeSessions),
    Effect.catch((error) => failed(since, json, error)),
    Effect.catchDefect((defect) => failed(since, json, bug(defect))),
    Effect.onInterrupt(() => interrupted(since, json))
  )
})

/**
 * The command, with the agents that it pays with.
 *
 * @category commands
 * @since 0.1.0
 */
export const command = (agents: Agents) =>
  Command.make("fetch", {
    ...Asked.flags,
    output: Flag.String("output").pipe(
      Flag.withAlias("o"),
      Flag.withMetavar("FILE"),
      Flag.withDescription("Write the body there instead of to stdout"),
      Flag.optional
    ),
    dryRun: Flag.Boolean("dry-run").pipe(
      Flag.withDescription("Say what would be paid, and pay nothing"),
      Flag.withDefault(false)
    )
  }, (input) => Report.withAgent(run(input), agents())).pipe(
    Command.withDescription("Ask for a URL, and pay for it if that is demanded and allowed"),
    Command.withExamples([
      { command: "mpp fetch https://api.example.com/data --max 0.01", description: "Pay at most a cent" },
      { command: "mpp fetch https://api.example.com/ask -d @question.json --json", description: "Post a file" }
    ])
  )
