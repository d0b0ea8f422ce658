/**
 * An answer of an MCP server as HTTP would give it: a status, header fields and a body. Everything above reads receipts,
 * refusals and demands in that form alone, but for the challenges, which are no text here.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Json from "./Json.ts"
import * as JsonRpc from "./JsonRpc.ts"
import type * as Challenge from "./mpp/Challenge.ts"
import * as McpPayment from "./mpp/McpPayment.ts"
import * as Problem from "./mpp/Problem.ts"
import * as X402 from "./x402/McpPayment.ts"
import * as V2 from "./x402/V2.ts"

/**
 * An answer, with the challenges of its demand.
 *
 * @category models
 * @since 0.1.0
 */
export interface McpAnswer {
  readonly status: number
  readonly headers: { readonly [name: string]: string | undefined }
  readonly body: string | undefined
  readonly challenges: ReadonlyArray<Challenge.Outcome>
  /** How many challenges cannot be echoed digit for digit; not counted where there is another demand beside them. */
  readonly inexact: number
}

/** Text of the server, which nothing but `merchantText` is made of. */
const text = (value: unknown): Option.Option<string> =>
  typeof value === "string" && value !== "" ? Option.some(value.slice(0, 1_000)) : Option.none()

interface Parts {
  readonly status: number
  readonly response: JsonRpc.Response
  readonly required?: Option.Option<McpPayment.Required>
  readonly demand?: Option.Option<Schema.JsonObject>
  readonly problem?: { readonly code: string; readonly detail: Option.Option<string> }
}

const assemble = (
  { demand = Option.none(), problem, required = Option.none(), response, status }: Parts
): McpAnswer => {
  // One that does not say what was paid says nothing of this payment.
  const receipt = Option.filter(
    JsonRpc.metadata(response.result, McpPayment.receiptKey),
    ({ challengeId }) => typeof challengeId === "string"
  )
  const settlement = X402.settlement(response)
  const document = problem === undefined ? {} : Problem.toJson({
    code: problem.code,
    title: "",
    status,
    ...Option.match(problem.detail, { onNone: () => ({}), onSome: (detail) => ({ detail }) })
  })
  const body = { ...Option.getOrElse(demand, () => ({})), ...document }
  return {
    status,
    headers: {
      "content-type": problem === undefined ? "application/json" : "application/problem+json",
      "payment-receipt": Option.getOrUndefined(Option.map(receipt, Json.toBase64Url)),
      [V2.responseHeader]: Option.getOrUndefined(Option.map(settlement, Json.toBase64))
    },
    body: Object.keys(body).length === 0 ? undefined : JSON.stringify(body),
    challenges: Option.match(required, { onNone: () => [], onSome: ({ challenges }) => challenges }),
    inexact: Option.isSome(demand) ? 0 : Option.match(required, { onNone: () => 0, onSome: ({ inexact }) => inexact })
  }
}

/** What a demand says of the last payment, in a code that is known here; none where it only demands. */
const refusal = (data: unknown): Option.Option<Problem.Problem> =>
  JsonRpc.object(JsonRpc.member(data, "problem")).pipe(
    Option.flatMap(Problem.fromJson),
    Option.filter(({ code }) => code !== "unspecified" && code !== "payment-required")
  )

const words = ({ data, message }: JsonRpc.ResponseError): Option.Option<string> => {
  const problem = JsonRpc.member(data, "problem")
  const failure = JsonRpc.member(data, "failure")
  return Option.firstSomeOf([
    text(JsonRpc.member(problem, "detail")),
    text(JsonRpc.member(failure, "detail")),
    text(JsonRpc.member(problem, "title")),
    text(JsonRpc.member(failure, "reason")),
    text(message)
  ])
}

const fromError = (error: JsonRpc.ResponseError, paid: boolean, otherwise: number): McpAnswer => {
  const response = { error }
  const detail = words(error)
  const demanded = { required: McpPayment.required(error.data), demand: X402.demand(response) }
  const refused = (code: string) => Option.match(refusal(error.data), { onNone: () => code, onSome: (it) => it.code })
  switch (error.code) {
    case McpPayment.codes.paymentRequired:
      // After a payment it says that the payment was not seen, or nothing at all: somebody between may have taken it away.
      return assemble({ status: 402, response, ...demanded, problem: { code: "payment-required", detail } })
    case McpPayment.codes.verificationFailed:
      return assemble({ status: 402, response, ...demanded, problem: { code: refused("verification-failed"), detail } })
    case X402.requiredCode:
      return assemble({ status: 402, response, ...demanded })
    case McpPayment.codes.invalidParams:
      return paid
        ? assemble({ status: 402, response, problem: { code: refused("malformed-credential"), detail } })
        : assemble({ status: 400, response })
    case McpPayment.codes.internalError:
      return assemble({ status: 500, response, problem: { code: "internal-payment-error", detail } })
    default:
      return assemble({ status: otherwise, response })
  }
}

const firstText = (result: unknown): Option.Option<string> => {
  const content = JsonRpc.member(result, "content")
  return Array.isArray(content) ? text(JsonRpc.member(content[0], "text")) : Option.none()
}

/** Servers of the official SDK make a result of what a tool throws, and leave its code to be read in the text alone. */
const thrown = (result: unknown): Option.Option<JsonRpc.ResponseError> =>
  Option.flatMap(firstText(result), (text) => {
    const [prefix = "", code = ""] = /^MCP error (-\d{5}): /.exec(text) ?? []
    return Object.values<number>(McpPayment.codes).includes(Number(code))
      ? Option.some({ code: Number(code), message: text.slice(prefix.length) })
      : Option.none()
  })

/** Some protocols have results that are none yet. */
const isComplete = (result: unknown): boolean =>
  [undefined, "complete"].some((type) => JsonRpc.member(result, "resultType") === type)

const isReceipt = (receipt: Schema.JsonObject): boolean => receipt.status === "success"

const fromResult = (result: unknown, paid: boolean): McpAnswer => {
  const response = { result }
  const isError = JsonRpc.member(result, "isError") === true
  // What comes with a receipt is what was bought, even if it says what the next one costs.
  const isBought = paid && !isError && Option.exists(JsonRpc.metadata(result, McpPayment.receiptKey), isReceipt)
  const required = isBought
    ? Option.none()
    : Option.flatMap(JsonRpc.metadata(result, McpPayment.requiredKey), McpPayment.required)
  const demand = X402.demand(response)
  if (Option.isSome(required) || Option.isSome(demand)) {
    return assemble({ status: 402, response, required, demand })
  }
  if (!paid || (!isError && isComplete(result))) return assemble({ status: 200, response })
  // Whatever was taken for it, this is not what was bought: the tool has failed, or wants to know more.
  const problem = { code: "unspecified", detail: firstText(result) }
  const failed = isError ? { status: 500, response, problem } : { status: 400, response }
  const isReceipted = [McpPayment.receiptKey, X402.settlementKey].some((key) =>
    Option.isSome(JsonRpc.metadata(result, key))
  )
  return Option.match(isReceipted ? Option.none() : thrown(result), {
    onNone: () => assemble(failed),
    onSome: (error) => fromError(error, true, failed.status)
  })
}

/**
 * Reads a response. `paid` says whether a credential came with its request: then a tool's error is not what was bought, and
 * a complaint about parameters is one about the credential. `status` is for errors that say nothing of payment.
 *
 * **Example** (A tool that must be paid for)
 *
 * ```ts
 * import * as McpAnswer from "effect-mpp/wire/McpAnswer"
 *
 * const challenge = { id: "c_1", realm: "shop", method: "tempo", intent: "charge", request: { amount: "1" } }
 * const error = { code: -32042, message: "Payment Required", data: { challenges: [challenge] } }
 * McpAnswer.read({ error }, { paid: false }).status // => 402
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const read = (
  { error, result }: JsonRpc.Response,
  { paid, status = 400 }: { readonly paid: boolean; readonly status?: number }
): McpAnswer => error === undefined ? fromResult(result, paid) : fromError(error, paid, status)
