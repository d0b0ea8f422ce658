/**
 * The rail of `mpp/1.0` token sessions: an account at a session endpoint, a limit authorised ahead, and a bearer token
 * that the merchant debits.
 *
 * A bearer token puts its whole limit at risk, so the rail is on for listed origins only, talks to the configured
 * endpoint only, and takes a challenge only if its realm belongs to the origin that made it. Tokens live in the memory of
 * the layer and nowhere else.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { sessionUsdc } from "../Asset.ts"
import { PolicyDenied, ProtocolError, WalletError } from "../PaymentError.ts"
import * as Rails from "../Rails.ts"
import * as Transport from "../Transport.ts"
import * as SessionEndpoint from "../wire/mpp/SessionEndpoint.ts"
import * as Draw from "./TokenSessionDraw.ts"
import * as Endpoint from "./TokenSessionEndpoint.ts"
import * as Rules from "./TokenSessionRules.ts"

/**
 * The name of the rail.
 *
 * @category constants
 * @since 0.1.0
 */
export const name = "mpp/token-session"

/**
 * @category models
 * @since 0.1.0
 */
export type Options = Rules.Options

/** What an `open` plan carries: all that is sent, but for the credential. */
const OpenData = Schema.Struct({
  endpoint: Schema.String,
  account: Schema.String,
  realm: Schema.String,
  idempotencyKey: SessionEndpoint.IdempotencyKey,
  request: SessionEndpoint.OpenRequest
})

const HandleData = Schema.Struct({ endpoint: Schema.String, audience: Schema.String, realm: Schema.String })

const decodeOpen = Schema.decodeUnknownOption(OpenData)
const decodeHandle = Schema.decodeUnknownOption(HandleData)
const encodeOpen = Schema.encodeOption(OpenData)

/** The endpoint's clock may be behind or ahead of ours by this much. */
const clockSkewMillis = 60_000

const protocolError = (detail: string) => new ProtocolError({ protocol: "mpp/1.0", detail })

const foreignPlan = () =>
  protocolError("this was not written by this rail, or was written for another session endpoint")

// ---------------------------------------------------------------------------------------------------------------------
// The rail
// ---------------------------------------------------------------------------------------------------------------------

const make = Effect.fnUntraced(function*(settings: Rules.Settings) {
  const client = yield* Transport.Transport
  const endpoint = Endpoint.make({ client, url: settings.endpoint, credential: settings.credential })
  const tokens = yield* Ref.make<ReadonlyMap<string, Redacted.Redacted<string>>>(new Map())

  const forget = (sessionId: string) =>
    Ref.update(tokens, (held) => new Map([...held].filter(([id]) => id !== sessionId)))

  // A ledger that was written for another endpoint must not send this one's credential there, nor its ids here.
  const ours = <A extends { readonly endpoint: string }>(data: Option.Option<A>): Effect.Effect<A, ProtocolError> =>
    Effect.mapError(
      Effect.fromOption(Option.filter(data, (it) => it.endpoint === settings.endpoint)),
      foreignPlan
    )

  const planOpen: Rails.SessionOps["planOpen"] = Effect.fn("TokenSession.planOpen")(function*(offer, context) {
    const { raw, realm } = yield* Effect.fromResult(
      Result.mapError(
        Rules.challengeOf(settings, offer, context.origin),
        ({ rule = "token-session", why }) => new PolicyDenied({ rule, detail: why, offer })
      )
    )
    const validitySeconds = Math.floor(context.validityMillis / 1000)
    const data = encodeOpen({
      endpoint: settings.endpoint,
      account: settings.account,
      realm,
      idempotencyKey: context.idempotencyKey,
      request: {
        challenge: raw,
        audience: context.origin,
        spendingLimitUsdc: context.limit,
        validitySeconds,
        agentId: settings.agentId ?? context.agent
      }
    })
    if (Option.isNone(data)) {
      return yield* new PolicyDenied({ rule: "token-session", detail: "no endpoint grants such a limit or validity" })
    }
    const now = yield* Clock.currentTimeMillis
    return new Rails.Plan({
      rail: name,
      kind: "open",
      network: sessionUsdc.network,
      asset: sessionUsdc.address,
      units: context.limit,
      payer: settings.endpoint,
      payee: offer.payee,
      spendableUntil: now + validitySeconds * 1000 + clockSkewMillis,
      data: data.value
    })
  })

  const establish: Rails.SessionOps["establish"] = Effect.fn("TokenSession.establish")(function*(plan) {
    const { idempotencyKey, realm, request } = yield* ours(decodeOpen(plan.data))
    const opened = yield* endpoint.open(request, idempotencyKey)
    const now = yield* Clock.currentTimeMillis
    const breach = opened.spendingLimitUsdc > request.spendingLimitUsdc
      ? "granted a higher limit than was asked for"
      : opened.expiresAt > (plan.spendableUntil ?? 0)
      ? "granted a longer validity than was asked for"
      : opened.expiresAt <= now
      ? "granted a session that has expired"
      : opened.audience !== undefined && opened.audience !== request.audience
      ? "granted a session for another audience"
      : undefined
    if (breach !== undefined) {
      const closed = yield* Effect.isSuccess(endpoint.close(opened.sessionId))
      return yield* protocolError(`the session endpoint ${breach}; the session was ${closed ? "" : "not "}closed again`)
    }
    const token = Redacted.make(opened.sessionToken, { label: "session token" })
    yield* Ref.update(tokens, (held) => new Map(held).set(opened.sessionId, token))
    return new Rails.SessionHandle({
      wireId: opened.sessionId,
      limit: opened.spendingLimitUsdc,
      expiresAt: opened.expiresAt,
      data: { endpoint: settings.endpoint, audience: request.audience, realm }
    })
  })

  const planDraw: Rails.SessionOps["planDraw"] = (handle, offer) =>
    new Rails.Plan({
      rail: name,
      kind: "draw",
      network: sessionUsdc.network,
      asset: sessionUsdc.address,
      units: offer.units,
      payer: settings.endpoint,
      payee: offer.payee,
      spendableUntil: handle.expiresAt + clockSkewMillis,
      data: Draw.encode({
        endpoint: settings.endpoint,
        sessionId: handle.wireId,
        expiresAt: handle.expiresAt,
        limit: handle.limit
      })
    })

  // Without a span of its own: whoever signs has one, and this only looks a token up.
  const sign: Rails.Rail["sign"] = Effect.fnUntraced(function*(plan) {
    const draw = plan.kind === "draw" ? Option.getOrUndefined(Draw.decode(plan.data)) : undefined
    const token = draw && (yield* Ref.get(tokens)).get(draw.sessionId)
    if (token === undefined) {
      return yield* new WalletError({
        operation: "attach the session's token",
        detail: "this process does not hold it"
      })
    }
    return { envelopes: [{ authorization: Redacted.make(`Payment ${Redacted.value(token)}`) }] }
  })

  const attested = (what: string, standing?: SessionEndpoint.Standing) =>
    new Rails.Evidence({
      rank: "attested",
      what,
      ...(standing === undefined ? {} : {
        detail: {
          spent: standing.spentUsdc.toString(),
          remaining: standing.remainingUsdc.toString(),
          status: standing.status
        }
      })
    })

  const open = (evidence: Rails.Evidence): Rails.Verdict => ({
    _tag: "Unknown",
    content: false,
    evidence,
    next: { _tag: "reconcile" }
  })

  // An opening whose answer was lost: its token is held by nobody, so its session is closed and its figure is final.
  const reconcileOpen = Effect.fnUntraced(function*(plan: Rails.Plan) {
    const { account, idempotencyKey } = yield* ours(decodeOpen(plan.data))
    const found = yield* endpoint.find(idempotencyKey).pipe(
      Effect.map(Option.some),
      Effect.catchTag("ProtocolError", () => Effect.succeedNone)
    )
    if (Option.isNone(found)) return open(attested("the session endpoint cannot be asked by key"))
    const standing = Option.getOrUndefined(found.value)
    if (standing === undefined) {
      // An endpoint does not know the keys of other accounts either.
      return account === settings.account
        ? voided(attested("the session endpoint knows no session of this key"))
        : open(attested("another credential opened the session, or nobody did"))
    }
    if (standing.status !== "open") return final(standing)
    const { sessionId } = standing
    return sessionId === undefined || (yield* Ref.get(tokens)).has(sessionId)
      ? open(attested("the session is open", standing))
      : final(yield* endpoint.close(sessionId))
  })

  const voided = (evidence: Rails.Evidence): Rails.Verdict => ({ _tag: "Void", evidence })

  const final = (standing: SessionEndpoint.Standing): Rails.Verdict => {
    const evidence = attested("final figure of the session", standing)
    return standing.spentUsdc === 0n
      ? voided(evidence)
      : { _tag: "Settled", units: standing.spentUsdc, content: false, evidence }
  }

  // One figure says nothing of one draw, unless nothing was drawn at all and nothing can be any more.
  const reconcileDraw = Effect.fnUntraced(function*(plan: Rails.Plan) {
    const { sessionId } = yield* ours(Draw.decode(plan.data))
    const standing = yield* endpoint.inspect(sessionId)
    const evidence = attested("figure of the session", standing)
    return standing.status !== "open" && standing.spentUsdc === 0n ? voided(evidence) : open(evidence)
  })

  const figures = (standing: SessionEndpoint.Standing): Rails.Figures => ({
    spent: standing.spentUsdc,
    remaining: standing.remainingUsdc,
    open: standing.status === "open"
  })

  const rail: Rails.Rail = {
    name,
    payer: settings.endpoint,
    // The token is in memory only, and a second draw is a second debit.
    accept: "token/session",
    steps: 0,
    repeats: false,
    accepts: (offer, origin) => Result.map(Rules.challengeOf(settings, offer, origin), () => sessionUsdc),
    plan: (offer) =>
      Effect.fail(new PolicyDenied({ rule: "session-only", detail: "token sessions pay by session only", offer })),
    sign,
    judge: Draw.judge,
    reconcile: Effect.fn("TokenSession.reconcile")((plan) =>
      plan.kind === "open" ? reconcileOpen(plan) : reconcileDraw(plan)
    ),
    session: Option.some({
      inOrder: false,
      attests: true,
      key: (offer) => [offer.realm?.toLowerCase(), settings.endpoint, offer.payee].join("\n"),
      planOpen,
      establish,
      planDraw,
      inspect: Effect.fn("TokenSession.inspect")(function*(handle) {
        yield* ours(decodeHandle(handle.data))
        return figures(yield* endpoint.inspect(handle.wireId))
      }),
      close: Effect.fn("TokenSession.close")(function*(handle) {
        yield* ours(decodeHandle(handle.data))
        yield* forget(handle.wireId)
        return figures(yield* endpoint.close(handle.wireId))
      })
    })
  }
  return rail
})

// ---------------------------------------------------------------------------------------------------------------------
// Layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Adds the rail to the registry; with no origin at all, adds nothing.
 *
 * **Example** (Sessions at one merchant, whose realm is not its host)
 *
 * ```ts
 * import * as TokenSession from "effect-mpp/rails/TokenSession"
 * import * as Layer from "effect/Layer"
 * import * as Redacted from "effect/Redacted"
 *
 * const RailLive = TokenSession.layer({
 *   credential: Redacted.make("tempo_live_1"),
 *   origins: ["https://data.example.com=example-data"]
 * })
 * Layer.isLayer(RailLive) // => true
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<never, PolicyDenied, Rails.Rails | Transport.Transport> =>
  options.origins.length === 0 ? Layer.empty : Rails.layerAdd(Effect.gen(function*() {
    const settings = yield* Effect.fromResult(Rules.check(options))
    if (options.origins.includes(Rules.everywhere)) {
      yield* Effect.logWarning(
        "token sessions are allowed at every origin: any site that asks for one gets a token worth its whole limit"
      )
    }
    return yield* make(settings)
  }))

const setting = (isFit: (text: string) => boolean, expected: string) =>
  Schema.String.check(Schema.makeFilter<string>((text) => isFit(text) || `Expected ${expected}`))

const CredentialSetting = Schema.Redacted(
  setting((text) => text === "" || Rules.isCredential(text), "characters that a header can carry")
)
const EndpointSetting = setting(Rules.isEndpoint, "an https URL without user, query or fragment")
const ListedSetting = setting(
  (entry) => entry.trim() === "" || Rules.isListed(entry.trim()),
  "https://host, https://host=realm or *"
)

/**
 * The rail as the environment has it: `TEMPO_CREDENTIAL`, `MPP_SESSION_ORIGINS` (`https://host` or `https://host=realm`,
 * comma separated), `MPP_SESSION_ENDPOINT`, `MPP_AGENT_ID`. Without a credential, or without origins, it adds nothing.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (): Layer.Layer<
  never,
  PolicyDenied | Config.ConfigError,
  Rails.Rails | Transport.Transport
> =>
  Layer.unwrap(Effect.gen(function*() {
    const { agentId, credential, endpoint, origins } = yield* Config.all({
      credential: Config.schema(CredentialSetting, "TEMPO_CREDENTIAL").pipe(Config.withDefault(Redacted.make(""))),
      origins: Config.Array(ListedSetting, "MPP_SESSION_ORIGINS").pipe(Config.withDefault([] as ReadonlyArray<string>)),
      endpoint: Config.option(Config.schema(EndpointSetting, "MPP_SESSION_ENDPOINT")),
      agentId: Config.option(Config.String("MPP_AGENT_ID"))
    })
    if (Redacted.value(credential) === "") return Layer.empty
    return layer({
      credential,
      origins: origins.map((entry) => entry.trim()).filter((entry) => entry !== ""),
      endpoint: Option.getOrUndefined(endpoint),
      agentId: Option.getOrUndefined(agentId)
    })
  }))
