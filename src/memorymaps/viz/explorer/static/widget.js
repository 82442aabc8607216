// node_modules/preact/dist/preact.mjs
var e, t, n, r, i, a, o, s, c, l, u, d = Symbol.for("pv"), f = {}, p = [], m = /^m(i|n|o|s|text|space)$/, h = Array.isArray, g = p.slice, _ = Object.assign;
function v(e) {
	e && e.parentNode && e.remove();
}
function y(e, t, n) {
	var r, i, a, o = {}, s = arguments.length;
	for (a in t) a == "key" ? r = t[a] : a == "ref" && typeof e != "function" ? i = t[a] : o[a] = t[a];
	return s > 2 && (o.children = s > 3 ? g.call(arguments, 2) : n), b(e, o, r, i, null);
}
function b(n, r, i, a, o) {
	var s = {
		type: n,
		props: r,
		key: i,
		ref: a,
		__k: null,
		__: null,
		__b: 0,
		__e: null,
		__c: null,
		constructor: d,
		__v: o || ++t,
		__i: -1,
		__u: 0
	};
	return !o && e.vnode && e.vnode(s), s;
}
function x(e) {
	return e.children;
}
function S(e, t) {
	this.props = e, this.context = t, this.__g = 0;
}
function C(e, t) {
	if (t == null) return e.__ && C(e.__, e.__i + 1);
	for (var n; t < e.__k.length; t++) if ((n = e.__k[t]) && n.__e) return n.__e;
	return typeof e.type != "function" || e.props.__P ? null : C(e);
}
function w(t) {
	var n, r = t.__v, i = r.__e, a = [], o = [], s = t.__P;
	s && ((n = _({ constructor: d }, r)).__v = r.__v + 1, e.vnode && e.vnode(n), oe(s, n, r, t.__n, s.namespaceURI, 32 & r.__u ? [i] : null, a, i || C(r), 32 & r.__u, o), n.__v = r.__v, n.__.__k[n.__i] = n, k(a, n, o), r.__ = r.__e = null, n.__e != i && T(n));
}
function T(e) {
	if ((e = e.__) && e.__c && !e.props.__P) return e.__e = null, e.__k.some(function(t) {
		return t && (e.__e = t.__e);
	}), T(e);
}
function E(t) {
	(8 & t.__g || (t.__g |= 8, r.push(t), a++)) && i == e.debounceRendering || ((i = e.debounceRendering) || queueMicrotask)(D);
}
function D() {
	try {
		for (var e, t = 1; r.length;) r.length > t && r.sort(o), e = r.shift(), t = r.length, 8 & e.__g && w(e);
	} finally {
		(a = r.length) && (i || queueMicrotask)(D);
	}
}
function ee(e, t, n, r, i, a, o, s, c, l, u) {
	var d, m, h, g, _, v, y = r.__k || p, b = t.length;
	for (c = te(n, t, y, c, b), d = 0; d < b; d++) (h = n.__k[d]) != null && (m = ~h.__i && y[h.__i] || f, h.__i = d, v = oe(e, h, m, i, a, o, s, c, l, u), g = h.__e, (m.ref != h.ref || 8 & m.__u) && (m.ref && A(m.ref, null, h, m), h.ref && u.push(h.ref, h.__c || g, h)), _ ||= g, 4 & h.__u ? (c = O(h, c, e, !m.__v), m.__e && (m.__e = null)) : typeof h.type == "function" && v !== void 0 ? c = v : g && (c = g.nextSibling), h.__u &= -21);
	return n.__e = _, c;
}
function te(e, t, n, r, i) {
	var a, o, s, c, l, u, f, p, m, g = n.length, _ = g, v = 0, y = 0, S = e.__k = Array(i);
	for (a = 0; a < i; a++) (o = t[a]) != null && typeof o != "boolean" && typeof o != "function" ? (typeof o != "object" || o.constructor === String ? o = S[a] = b(null, o) : h(o) ? o = S[a] = b(x, { children: o }) : o.constructor === d && o.__b ? o = S[a] = b(o.type, o.props, o.key, o.ref, o.__v) : S[a] = o, c = a + v, o.__ = e, o.__b = e.__b + 1, s = null, ~(l = o.__i = ne(o, n, c, _)) && (_--, (s = n[l]) && (s.__u |= 2)), s && s.__v ? (o.__u |= 16, l == c - 1 ? v-- : l == c + 1 ? v++ : l != c && (l > c ? v-- : v++, y = 1)) : (~l || (i > g ? v-- : i < g && v++), typeof o.type != "function" && (o.__u |= 4))) : S[a] = null;
	if (y) {
		for (u = [], f = [], a = 0; a < i; a++) if ((o = S[a]) && 16 & o.__u) {
			for (v = 0, p = u.length; v < p;) u[m = v + p >> 1] < o.__i ? v = m + 1 : p = m;
			u[v] = o.__i, f[a] = v + 1;
		}
		for (v = u.length; a--;) f[a] && (f[a] == v ? v-- : S[a].__u |= 4);
	}
	if (_) for (a = 0; a < g; a++) !(s = n[a]) || 2 & s.__u || (s.__e == r && (r = C(s)), ue(s, s));
	return r;
}
function O(e, t, n, r) {
	var i, a, o, s;
	if (typeof e.type == "function") {
		if (e.props.__P) return t;
		if (i = e.__k) for (a = 0; a < i.length; a++) i[a] && (i[a].__ = e, t = O(i[a], t, n, !1));
		return t;
	}
	for (t && !t.parentNode && (t = C(e)) && !t.parentNode && (t = null), o = e.__e, s = t; s && s.nodeType == 8;) s = s.nextSibling;
	for (o != s && (!r && n.moveBefore && o.parentNode ? n.moveBefore(o, t) : n.insertBefore(o, t || null)), t = o; (t &&= t.nextSibling) && t.nodeType == 8 && !t.data.startsWith("$s"););
	return t;
}
function ne(e, t, n, r) {
	var i, a = e.key, o = e.type, s = t[n], c = s && !(2 & s.__u);
	if (s === null && a == null || c && a == s.key && o == s.type) return n;
	if (r > +!!c) {
		for (i = n - 1; i >= 0; i--) if ((s = t[i]) && !(2 & s.__u) && a == s.key && o == s.type) return i;
		for (i = n + 1; i < t.length; i++) if ((s = t[i]) && !(2 & s.__u) && a == s.key && o == s.type) return i;
	}
	return -1;
}
function re(e, t, n) {
	n ??= "", t[0] == "-" ? e.setProperty(t, n) : e[t] = n;
}
function ie(e, t, n, r, i) {
	var a, o;
	if (t == "style") {
		if (typeof n == "string") e.style.cssText = n;
		else {
			if (typeof r == "string" && (e.style.cssText = r = ""), r) for (t in r) n && t in n || re(e.style, t);
			if (n) for (t in n) r && n[t] == r[t] || re(e.style, t, n[t]);
		}
	} else if (t[0] == "o" && t[1] == "n") typeof n != "function" && (n = null), typeof r != "function" && (r = null), (e.__e ||= {})[t] = n, n && r || (o = u[t] || (u[t] = ae(t)), (e.__a ||= {})[t] = l, a = t != (t = t.replace(c, "$1")), (t = t.slice(2))[0] < "a" && (t = t.toLowerCase()), n ? e.addEventListener(t, o, a) : e.removeEventListener(t, o, a));
	else {
		if (i == "http://www.w3.org/2000/svg") t = t.replace(/xlink(H|:h)/, "h").replace(/sName$/, "s");
		else if (t != "width" && t != "height" && t != "href" && t != "list" && t != "form" && t != "tabIndex" && t != "download" && t != "rowSpan" && t != "colSpan" && t != "role" && t != "popover" && t in e) try {
			e[t] = n ?? "";
			return;
		} catch {}
		if (typeof n == "function") return;
		n == null || !1 === n && t[4] != "-" ? e.removeAttribute(t) : e.setAttribute(t, t == "popover" && n == 1 ? "" : n);
	}
}
function ae(t) {
	return function(n) {
		var r = this.__e;
		if (r) {
			if (r = r[t], n[s] == null) n[s] = l++;
			else if (n[s] < this.__a[t]) return;
			return r(e.event ? e.event(n) : n);
		}
	};
}
function oe(t, n, r, i, a, o, s, c, l, u) {
	var f, m, g, y, b, w, T, E, D, te, O, ne, re, ie, ae, oe, k, A, j = n.type;
	if (n.constructor !== d) return null;
	128 & r.__u && (l = 32 & r.__u, f = r.__c.__z) && (n.__u |= l, m = o = [], f.nodeType == 8 ? c = se(f, o) : o.push(f), c = o[0] || c), (f = e.__b) && f(n);
	n: if (typeof j == "function") {
		g = s.length;
		try {
			if (E = n.props, D = (f = j.prototype) && f.render, te = (f = j.contextType) && i[f.__c], O = f ? te ? te.props.value : f.__ : i, (y = r.__c) ? (n.__c = y, 2 & y.__g && (y.__g |= 1)) : (D ? n.__c = y = new j(E, O) : (n.__c = y = new S(E, O), y.constructor = j, y.render = de), te && te.sub(y), y.state || (y.state = {}), y.__n = i, y.__g |= 8, y.__h = [], y.__k = []), D && (y.__s || (y.__s = y.state), j.getDerivedStateFromProps && (y.__s == y.state && (y.__s = _({}, y.__s)), _(y.__s, j.getDerivedStateFromProps(E, y.__s)))), b = y.props, w = y.state, y.__v = n, r.__c) {
				if (E !== b && D && !j.getDerivedStateFromProps && y.componentWillReceiveProps && y.componentWillReceiveProps(E, O), n.__v == r.__v && !(8 & y.__g) || !(4 & y.__g) && y.shouldComponentUpdate && !1 === y.shouldComponentUpdate(E, y.__s, O)) {
					n.__v != r.__v && (y.props = E, y.state = y.__s, y.__g &= -9), n.__e = r.__e, n.__k = r.__k, n.__k.some(function(e) {
						e && (e.__ = n);
					}), p.push.apply(y.__h, y.__k), y.__k = [], y.__h.length && s.push(y), c = C(r);
					break n;
				}
				y.componentWillUpdate && y.componentWillUpdate(E, y.__s, O), D && y.componentDidUpdate && y.__h.push(function() {
					y.componentDidUpdate(b, w, T);
				});
			} else D && !j.getDerivedStateFromProps && y.componentWillMount && y.componentWillMount(), D && y.componentDidMount && y.__h.push(y.componentDidMount);
			y.context = O, y.props = E, y.__P = t, y.__g &= -5, ne = e.__r, re = D ? 25 : 0;
			do
				y.__g &= -9, ne && ne(n), f = y.render(y.props, y.state = y.__s, y.context);
			while (8 & y.__g && ++re < 25);
			D && (p.push.apply(y.__h, y.__k), y.__k = []), y.state = y.__s, y.getChildContext && (i = _({}, i, y.getChildContext())), D && r.__c && y.getSnapshotBeforeUpdate && (T = y.getSnapshotBeforeUpdate(b, w)), ie = f && f.type === x && f.key == null ? f.props.children : f, E.__P && (f = c, a = (t = E.__P).namespaceURI, l = o = null, r.props && r.props.__P != t && (r.__k.some(function(e) {
				e && ue(e, e);
			}), r.__k = null), c = r.__k ? C(r, 0) : null), c = ee(t, h(ie) ? ie : [ie], n, r, i, a, o, s, c, l, u), E.__P && (n.__e = null, c = f), n.__u &= -161, m && m.some(v), y.__h.length && s.push(y), 1 & y.__g && (y.__g &= -4);
		} catch (t) {
			if (s.length = g, n.__v = null, l || o) {
				if (t && t.then) {
					if (n.__u |= 128 | l, o) {
						for (~(k = o.indexOf(c || void 0)) || (k = o.length); (A = o[k - 1]) && A.nodeType == 8;) k--;
						for (; k < o.length; k++) if (A = o[k]) {
							if (o[k] = null, ae) {
								if (A == oe) break;
							} else {
								if (A.nodeType != 8) break;
								A.data.startsWith("$s") && (oe = se(ae = A));
							}
						}
					}
					if (!ae) {
						for (; c && c.nodeType == 8 && c.nextSibling;) c = c.nextSibling;
						ae = c;
					}
					(f = se(ae = n.__c.__z || (n.__c.__z = ae))) ? (n.__e = ae, c = f) : n.__e = c, c &&= c.nextSibling;
				} else o && o.some(v);
			} else n.__e = r.__e;
			n.__k ||= r.__k || [], t && t.then || ce(n), e.__e(t, n, r);
		}
	} else c = n.__e = le(r.__e, n, r, i, a, o, s, l, u, t);
	return (f = e.diffed) && f(n), c;
}
function se(e, t) {
	if (e && e.nodeType == 8 && e.data.startsWith("$s")) for (var n = 1; e = e.nextSibling;) {
		if (e.nodeType == 8) {
			if (e.data.startsWith("$s")) n++;
			else if (e.data.startsWith("/$s") && !--n) return e;
		}
		t && t.push(e);
	}
}
function ce(e) {
	e && (e.__c && (e.__c.__g |= 4), e.__k && e.__k.some(ce));
}
function k(t, n, r) {
	for (var i = 0; i < r.length;) A(r[i++], r[i++], r[i++]);
	e.__c && e.__c(n, t), t.some(function(n) {
		try {
			t = n.__h, n.__h = [], t.some(function(e) {
				e.call(n);
			});
		} catch (t) {
			e.__e(t, n.__v);
		}
	});
}
function le(t, n, r, i, a, o, s, c, l, u) {
	var d, p, _, y, b, x, S, w, T = r.props || f, E = n.props, D = n.type;
	if (D == "svg" ? a = "http://www.w3.org/2000/svg" : D == "math" ? a = "http://www.w3.org/1998/Math/MathML" : a ||= "http://www.w3.org/1999/xhtml", o) {
		for (d = 0; d < o.length; d++) if ((b = o[d]) && (D ? b.localName == D : b.nodeType == 3)) {
			t = b, o[d] = null;
			break;
		}
	}
	if (!t) {
		if (w = u.ownerDocument || document, !D) return w.createTextNode(E);
		t = w.createElementNS(a, D, E.is ? E : u), c &&= (e.__m && e.__m(n, o), !1), o = null;
	}
	if (D) {
		if (u = D == "template" && t.content || t, o = D == "textarea" && E.defaultValue != null ? null : o && g.call(u.childNodes), !c && o) for (T = {}, d = 0; d < t.attributes.length; d++) T[(b = t.attributes[d]).name] = b.value;
		for (d in T) b = T[d], d == "dangerouslySetInnerHTML" ? _ = b : d == "children" || d in E || d == "value" && "defaultValue" in E || d == "checked" && "defaultChecked" in E || ie(t, d, null, b, a);
		for (d in E) b = E[d], d == "children" ? y = b : d == "dangerouslySetInnerHTML" ? p = b : d == "value" ? x = b : d == "checked" ? S = b : c && typeof b != "function" || T[d] === b || ie(t, d, b, T[d], a);
		p ? (c || _ && (p.__html == _.__html || p.__html == t.innerHTML) || (t.innerHTML = p.__html), n.__k = []) : (_ && (t.textContent = ""), (D == "foreignObject" || a == "http://www.w3.org/1998/Math/MathML" && m.test(D)) && (a = "http://www.w3.org/1999/xhtml"), ee(u, h(y) ? y : [y], n, r, i, a, o, s, o ? o[0] : r.__k && C(r, 0), c, l), o && o.some(v)), c && D != "textarea" || (d = "value", D == "progress" && x == null ? t.removeAttribute(d) : x == null || x === t[d] && (D != "progress" || x) || ie(t, d, x, T[d], a), d = "checked", S != null && S != t[d] && ie(t, d, S, T[d], a));
	} else T === E || c && t.data == E || (t.data = E);
	return t;
}
function A(t, n, r, i) {
	try {
		typeof t == "function" ? n ? n.__x = t(n) || 1 : (i &&= i.__c || i.__e) && (n = i.__x) && (i.__x = null, typeof n == "function" ? n() : t(null)) : t.current = n;
	} catch (t) {
		e.__e(t, r);
	}
}
function ue(t, n, r) {
	var i, a, o, s;
	if (e.unmount && e.unmount(t), !(i = t.ref) || i.current && i.current != t.__e || A(i, null, n, t), i = t.__c) {
		if (i.componentWillUnmount) try {
			i.componentWillUnmount();
		} catch (t) {
			e.__e(t, n);
		}
		i.__P = i.__n = null;
	}
	if (i = t.__k) for (s = 0; s < i.length; s++) i[s] && ue(i[s], n, typeof t.type != "function" || r && !t.props.__P);
	!r && (i = t.__c) && (i = i.__z) && (a = se(i, o = [])) && (i == t.__e && o.some(v), v(a), v(i)), r || v(t.__e), t.__e = t.__c = t.__ = null;
}
function de(e, t, n) {
	return this.constructor(e, n);
}
function j(t, n) {
	var r, i, a, o;
	e.__ && e.__(t, n), n.nodeType == 9 && (n = n.documentElement), i = (r = t && 32 & t.__u) ? null : n.__k, n.__k = b(x, { children: [t] }), a = [], o = [], oe(n, n.__k, i || f, f, n.namespaceURI, i ? null : n.firstChild ? g.call(n.childNodes) : null, a, i ? i.__e : n.firstChild, r, o), k(a, n.__k, o), n.__k.props.children = null;
}
e = { __e: function(e, t, n, r) {
	for (var i, o, s; t = t.__;) if ((i = t.__c) && !(1 & i.__g)) {
		i.__g |= 4;
		try {
			if ((s = (o = i.constructor) && o.getDerivedStateFromError) && i.setState(o.getDerivedStateFromError(e)), i.componentDidCatch && (i.componentDidCatch(e, r || {}), s = 1), s && 8 & i.__g) return void (i.__g |= 2);
		} catch (t) {
			e = t;
		}
	}
	throw a = 0, e;
} }, t = 0, n = function(e) {
	return e != null && e.constructor === d;
}, S.prototype.setState = function(e, t) {
	var n = this.__s;
	n && n != this.state || (n = this.__s = _({}, this.state)), typeof e == "function" && (e = e(_({}, n), this.props)), e && (_(n, e), this.__v && (t && this.__k.push(t), E(this)));
}, S.prototype.forceUpdate = function(e) {
	this.__v && (this.__g |= 4, e && this.__h.push(e), E(this));
}, S.prototype.render = x, r = [], a = 0, o = function(e, t) {
	return e.__v.__b - t.__v.__b;
}, s = Symbol(), c = /(PointerCapture)$|Capture$/i, l = 0, u = {};
// node_modules/preact/hooks/dist/hooks.mjs
var fe, M, pe, me, he = Object.is, ge = 0, _e = [], ve = [], N = e, ye = N.__b, be = N.__r, xe = N.diffed, Se = N.__c, Ce = N.unmount, we = N.__;
function Te(e, t) {
	N.__h && N.__h(M, e, ge || t), ge = 0;
	var n = M.__H || (M.__H = {
		__: [],
		__h: []
	});
	return e >= n.__.length && n.__.push({}), n.__[e];
}
function Ee(e) {
	return ge = 1, De(Re, e);
}
function De(e, t, n) {
	var r = Te(fe++, 2);
	if (r.t = e, !r.__c && (r.__ = [n ? n(t) : Re(void 0, t), function(e) {
		var t = (r.__N || r.__)[0], n = r.t(t, e);
		he(t, n) || (r.__N = [n, r.__[1]], r.__c.setState({}));
	}], r.__c = M, !M.__f)) {
		M.__f = !0;
		var i = M.shouldComponentUpdate;
		M.shouldComponentUpdate = function(e, t, n) {
			var r = this.__H;
			if (!r) return !0;
			var a = !1, o = this.props != e;
			if (r.__.some(function(e) {
				e.__N && (a = !0, he(e.__[0], e.__N[0]) || (o = !0));
			}), i) {
				var s = i.call(this, e, t, n);
				return a ? s || o : s;
			}
			return !a || o;
		};
	}
	return r.__;
}
function Oe(e, t) {
	var n = Te(fe++, 3);
	!N.__s && Le(n.__H, t) && (n.__P = !0, n.__ = e, n.u = t, M.__H.__h.push(n));
}
function ke(e) {
	return ge = 5, Ae(function() {
		return { current: e };
	}, []);
}
function Ae(e, t) {
	var n = Te(fe++, 7);
	return Le(n.__H, t) && (n.__ = e(), n.__H = t), n.__;
}
function je() {
	var e;
	do {
		for (; e = ve.shift();) try {
			Fe(e);
		} catch (t) {
			N.__e(t, { __: (e = e.__P) && e.__v });
		}
		for (; e = _e.shift();) {
			var t = e.__H;
			if (e.__P && t) try {
				t.__h.some(Fe), t.__h.some(Ie), t.__h = [];
			} catch (n) {
				t.__h = [], N.__e(n, e.__v);
			}
		}
	} while (ve.length);
}
N.__b = function(e) {
	M = null, ye && ye(e);
}, N.__ = function(e, t) {
	e && t.__k && t.__k.__m && (e.__m = t.__k.__m), we && we(e, t);
}, N.__r = function(e) {
	be && be(e), fe = 0;
	var t = (M = e.__c).__H;
	t && (pe == M ? M.__h = [] : (t.__h.some(Fe), t.__h.some(Ie), fe = 0), t.__h = [], t.__.some(function(e) {
		e.__N && (e.__ = e.__N), e.u = e.__N = void 0;
	})), pe = M;
}, N.diffed = function(e) {
	xe && xe(e);
	var t = e.__c;
	t && t.__H && (t.__H.__h.length && Pe(_e.push(t)), t.__H.__.some(function(e) {
		e.u && (e.__H = e.u);
	})), pe = M = null;
}, N.__c = function(e, t) {
	t.some(function(e) {
		try {
			e.__h.some(Fe), e.__h = e.__h.filter(function(e) {
				return !e.__ || Ie(e);
			});
		} catch (t) {
			e.__h = [function() {
				throw t;
			}];
		}
	}), Se && Se(e, t);
}, N.unmount = function(e) {
	Ce && Ce(e);
	var t, n, r = e.__c;
	r && r.__H && (r.__H.__.some(function(r) {
		try {
			if (r.__P && r.__c) {
				if (n === void 0) {
					for (n = e.__; n && (!n.__c || !n.__c.__P);) n = n.__;
					n &&= n.__c;
				}
				r.__P = n, Pe(ve.push(r));
			} else Fe(r);
		} catch (e) {
			t = e;
		}
	}), r.__H = void 0, t && N.__e(t, r.__v));
};
var Me = typeof requestAnimationFrame == "function";
function Ne(e) {
	var t, n = function() {
		clearTimeout(r), Me && cancelAnimationFrame(t), setTimeout(e);
	}, r = setTimeout(n, 35);
	Me && (t = requestAnimationFrame(n));
}
function Pe(e) {
	e != 1 && me == N.requestAnimationFrame || ((me = N.requestAnimationFrame) || Ne)(je);
}
function Fe(e) {
	var t = M, n = e.__c;
	typeof n == "function" && (e.__c = void 0, n()), M = t;
}
function Ie(e) {
	var t = M;
	e.__c = e.__(), M = t;
}
function Le(e, t) {
	return !e || e.length != t.length || t.some(function(t, n) {
		return !he(t, e[n]);
	});
}
function Re(e, t) {
	return typeof t == "function" ? t(e) : t;
}
// node_modules/@preact/signals-core/dist/signals-core.module.js
var ze = Symbol.for("preact-signals");
function Be() {
	if (Ge > 1) Ge--;
	else {
		var e, t = !1;
		for ((function() {
			var e = Ye;
			for (Ye = void 0; e !== void 0;) {
				var t = e.S;
				if (t.v === e.v) for (var n = t.t; n !== void 0; n = n.x) n.i === e.i && (n.i = t.i);
				e = e.o;
			}
		})(); We !== void 0;) {
			var n = We;
			for (We = void 0, Ke++; n !== void 0;) {
				var r = n.u;
				if (n.u = void 0, n.f &= -3, !(8 & n.f) && Qe(n)) try {
					n.c();
				} catch (n) {
					t ||= (e = n, !0);
				}
				n = r;
			}
		}
		if (Ke = 0, Ge--, t) throw e;
	}
}
function Ve(e) {
	if (Ge > 0) return e();
	Je = ++qe, Ge++;
	try {
		return e();
	} finally {
		Be();
	}
}
var He, P = void 0;
function Ue(e) {
	var t = P, n = He;
	P = void 0, He = void 0;
	try {
		return e();
	} finally {
		P = t, He = n;
	}
}
var We = void 0, Ge = 0, Ke = 0, qe = 0, Je = 0, Ye = void 0, Xe = 0;
function Ze(e) {
	if (P !== void 0) {
		var t = e.n;
		if (t === void 0 || t.t !== P) return t = {
			i: 0,
			S: e,
			p: P.s,
			n: void 0,
			t: P,
			e: void 0,
			x: void 0,
			r: t
		}, P.s !== void 0 && (P.s.n = t), P.s = t, e.n = t, 32 & P.f && e.S(t), t;
		if (t.i === -1) return t.i = 0, t.n !== void 0 && (t.n.p = t.p, t.p !== void 0 && (t.p.n = t.n), t.p = P.s, t.n = void 0, P.s.n = t, P.s = t), t;
	}
}
function F(e, t) {
	this.v = e, this.i = 0, this.n = void 0, this.t = void 0, this.l = 0, this.W = t?.watched, this.Z = t?.unwatched, this.name = t?.name;
}
F.prototype.brand = ze, F.prototype.h = function() {
	return !0;
}, F.prototype.S = function(e) {
	var t = this, n = this.t;
	n !== e && e.e === void 0 && (e.x = n, this.t = e, n === void 0 ? Ue(function() {
		var e;
		(e = t.W) == null || e.call(t);
	}) : n.e = e);
}, F.prototype.U = function(e) {
	var t = this;
	if (this.t !== void 0) {
		var n = e.e, r = e.x;
		n !== void 0 && (n.x = r, e.e = void 0), r !== void 0 && (r.e = n, e.x = void 0), e === this.t && (this.t = r, r === void 0 && Ue(function() {
			var e;
			(e = t.Z) == null || e.call(t);
		}));
	}
}, F.prototype.subscribe = function(e) {
	var t = this;
	return st(function() {
		var n = t.value;
		Ue(function() {
			return e(n);
		});
	}, { name: "sub" });
}, F.prototype.valueOf = function() {
	return this.value;
}, F.prototype.toString = function() {
	return this.value + "";
}, F.prototype.toJSON = function() {
	return this.value;
}, F.prototype.peek = function() {
	var e = this;
	return Ue(function() {
		return e.value;
	});
}, Object.defineProperty(F.prototype, "value", {
	get: function() {
		var e = Ze(this);
		return e !== void 0 && (e.i = this.i), this.v;
	},
	set: function(e) {
		if (e !== this.v) {
			if (Ke > 100) throw Error("Cycle detected");
			(function(e) {
				Ge !== 0 && Ke === 0 && e.l !== Je && (e.l = Je, Ye = {
					S: e,
					v: e.v,
					i: e.i,
					o: Ye
				});
			})(this), this.v = e, this.i++, Xe++, Ge++;
			try {
				for (var t = this.t; t !== void 0; t = t.x) t.t.N();
			} finally {
				Be();
			}
		}
	}
});
function I(e, t) {
	return new F(e, t);
}
function Qe(e) {
	for (var t = e.s; t !== void 0; t = t.n) if (t.S.i !== t.i || !t.S.h() || t.S.i !== t.i) return !0;
	return !1;
}
function $e(e) {
	for (var t = e.s; t !== void 0; t = t.n) {
		var n = t.S.n;
		if (n !== void 0 && (t.r = n), t.S.n = t, t.i = -1, t.n === void 0) {
			e.s = t;
			break;
		}
	}
}
function et(e) {
	for (var t = e.s, n = void 0; t !== void 0;) {
		var r = t.p;
		t.i === -1 ? (t.S.U(t), r !== void 0 && (r.n = t.n), t.n !== void 0 && (t.n.p = r)) : n = t, t.S.n = t.r, t.r !== void 0 && (t.r = void 0), t = r;
	}
	e.s = n;
}
function tt(e, t) {
	F.call(this, void 0, t), this.x = e, this.s = void 0, this.g = Xe - 1, this.f = 4;
}
tt.prototype = new F(), tt.prototype.h = function() {
	if (this.f &= -3, 1 & this.f) return !1;
	if ((36 & this.f) == 32 || (this.f &= -5, this.g === Xe)) return !0;
	if (this.g = Xe, this.f |= 1, this.i > 0 && !Qe(this)) return this.f &= -2, !0;
	var e = P;
	try {
		$e(this), P = this;
		var t = this.x();
		(16 & this.f || this.v !== t || this.i === 0) && (this.v = t, this.f &= -17, this.i++);
	} catch (e) {
		this.v = e, this.f |= 16, this.i++;
	}
	return P = e, et(this), this.f &= -2, !0;
}, tt.prototype.S = function(e) {
	if (this.t === void 0) {
		this.f |= 36;
		for (var t = this.s; t !== void 0; t = t.n) t.S.S(t);
	}
	F.prototype.S.call(this, e);
}, tt.prototype.U = function(e) {
	if (this.t !== void 0 && (F.prototype.U.call(this, e), this.t === void 0)) {
		this.f &= -33;
		for (var t = this.s; t !== void 0; t = t.n) t.S.U(t);
	}
}, tt.prototype.N = function() {
	if (!(2 & this.f)) {
		this.f |= 6;
		for (var e = this.t; e !== void 0; e = e.x) e.t.N();
	}
}, Object.defineProperty(tt.prototype, "value", { get: function() {
	if (1 & this.f) throw Error("Cycle detected");
	var e = Ze(this);
	if (this.h(), e !== void 0 && (e.i = this.i), 16 & this.f) throw this.v;
	return this.v;
} });
function nt(e, t) {
	return new tt(e, t);
}
function rt(e) {
	var t = e.j;
	if (e.j = void 0, typeof t == "function") {
		Ge++;
		var n = P;
		P = void 0;
		try {
			t();
		} catch (t) {
			throw e.f &= -2, e.f |= 8, it(e), t;
		} finally {
			P = n, Be();
		}
	}
}
function it(e) {
	for (var t = e.s; t !== void 0; t = t.n) t.S.U(t);
	e.x = void 0, e.s = void 0, rt(e);
}
function at(e) {
	if (P !== this) throw Error("Out-of-order effect");
	et(this), P = e, this.f &= -2;
	try {
		8 & this.f && it(this);
	} finally {
		Be();
	}
}
function ot(e, t) {
	this.x = e, this.j = void 0, this.s = void 0, this.u = void 0, this.f = 32, this.name = t?.name, He && He.push(this);
}
ot.prototype.c = function() {
	var e = this.S();
	try {
		if (8 & this.f || this.x === void 0) return;
		var t = this.x();
		typeof t == "function" && (this.j = t);
	} finally {
		e();
	}
}, ot.prototype.S = function() {
	if (1 & this.f) throw Error("Cycle detected");
	this.f |= 1, this.f &= -9, rt(this), $e(this), Ge++;
	var e = P;
	return P = this, at.bind(this, e);
}, ot.prototype.N = function() {
	2 & this.f || (this.f |= 2, this.u = We, We = this);
}, ot.prototype.d = function() {
	this.f |= 8, 1 & this.f || it(this);
}, ot.prototype.dispose = function() {
	this.d();
};
function st(e, t) {
	var n = new ot(e, t);
	try {
		n.c();
	} catch (e) {
		throw n.d(), e;
	}
	var r = n.d.bind(n);
	return r[Symbol.dispose] = r, r;
}
// node_modules/@preact/signals/dist/signals.module.js
var ct, lt, ut = typeof window < "u" && !!window.__PREACT_SIGNALS_DEVTOOLS__, dt = [];
st(function() {
	ct = this.N;
})();
function ft(t, n) {
	e[t] = n.bind(null, e[t] || function() {});
}
function pt(e) {
	if (lt) {
		var t = lt;
		lt = void 0, t();
	}
	lt = e && e.S();
}
function mt(e) {
	var t = this, r = e.data, i = gt(r);
	i.name = "ReactiveDom", i.value = r;
	var a = Ae(function() {
		for (var e = t, r = t.__v; r = r.__;) if (r.__c) {
			r.__c.__$f |= 4;
			break;
		}
		var a = nt(function() {
			var e = i.value.value;
			return e === 0 ? 0 : !0 === e ? "" : e || "";
		}), o = nt(function() {
			return !Array.isArray(a.value) && !n(a.value);
		}), s = st(function() {
			if (this.N = yt, o.value) {
				var t = a.value;
				e.__v && e.__v.__e && e.__v.__e.nodeType === 3 && (e.__v.__e.data = t);
			}
		}), c = t.__$u.d;
		return t.__$u.d = function() {
			s(), c.call(this);
		}, [o, a];
	}, []), o = a[0], s = a[1];
	return o.value ? s.peek() : s.value;
}
mt.displayName = "ReactiveTextNode", Object.defineProperties(F.prototype, {
	constructor: {
		configurable: !0,
		value: y(x, null).constructor
	},
	type: {
		configurable: !0,
		value: mt
	},
	props: {
		configurable: !0,
		get: function() {
			var e = this;
			return { data: { get value() {
				return e.value;
			} } };
		}
	},
	__b: {
		configurable: !0,
		value: 1
	}
}), ft("__b", function(e, t) {
	if (pt(), typeof t.type == "string") {
		var n, r = t.props;
		for (var i in r) if (i !== "children") {
			var a = r[i];
			a instanceof F && (n || (t.__np = n = {}), n[i] = a, r[i] = a.peek());
		}
	}
	e(t);
}), ft("__r", function(e, t) {
	if (e(t), t.type !== x) {
		pt();
		var n, r = t.__c;
		r && (r.__$f &= -2, (n = r.__$u) === void 0 && (r.__$u = n = function(e, t) {
			var n;
			return st(function() {
				n = this;
			}, { name: t }), n.c = e, n;
		}(function(e) {
			return function() {
				var t;
				ut && ((t = this.y) == null || t.call(this)), e.__$f |= 1, e.setState({});
			};
		}(r), typeof t.type == "function" ? t.type.displayName || t.type.name : ""))), pt(n);
	}
}), ft("__e", function(e, t, n, r) {
	pt(), e(t, n, r);
}), ft("diffed", function(e, t) {
	pt();
	var n;
	if (typeof t.type == "string" && (n = t.__e)) {
		var r = t.__np, i = t.props, a = n.U;
		if (a) for (var o in a) {
			var s = a[o];
			s === void 0 || r && o in r || (s.d(), a[o] = void 0);
		}
		if (r) for (var c in a || (a = {}, n.U = a), r) {
			var l = a[c], u = r[c];
			l === void 0 ? (l = ht(n, c, u, i), a[c] = l) : l.o(u, i);
		}
	}
	e(t);
});
function ht(e, t, n, r) {
	var i = t in e && e.ownerSVGElement === void 0, a = I(n);
	return {
		o: function(e, t) {
			a.value = e, r = t;
		},
		d: st(function() {
			this.N = yt;
			var n = a.value.value;
			r[t] !== n && (r[t] = n, i ? e[t] = n : n != null && (!1 !== n || t[4] === "-") ? e.setAttribute(t, n) : e.removeAttribute(t));
		})
	};
}
ft("unmount", function(e, t) {
	if (typeof t.type == "string") {
		var n = t.__e;
		if (n) {
			var r = n.U;
			if (r) for (var i in n.U = void 0, r) {
				var a = r[i];
				a && a.d();
			}
		}
		var o = t.__np;
		if (o) {
			var s = t.props;
			for (var c in o) s[c] = o[c];
		}
		t.__np = void 0;
	} else {
		var l = t.__c;
		if (l) {
			l.__$f |= 8;
			var u = l.__$u;
			u && (l.__$u = void 0, u.d());
		}
	}
	e(t);
}), ft("__h", function(e, t, n, r) {
	r < 3 && (t.__$f |= 2), e(t, n, r);
}), S.prototype.shouldComponentUpdate = function(e, t) {
	if (this.__R) return !0;
	var n = this.__$u, r = n && n.s !== void 0;
	for (var i in t) return !0;
	if (this.__f || typeof this.u == "boolean" && !0 === this.u) {
		var a = 2 & this.__$f;
		if (!(r || a || 4 & this.__$f) || 1 & this.__$f) return !0;
	} else if (!(r || 4 & this.__$f) || 3 & this.__$f) return !0;
	for (var o in e) if (o !== "__source" && e[o] !== this.props[o]) return !0;
	for (var s in this.props) if (!(s in e)) return !0;
	return !1;
};
function gt(e, t) {
	return Ae(function() {
		return I(e, t);
	}, []);
}
var _t = function(e) {
	queueMicrotask(function() {
		queueMicrotask(e);
	});
};
function vt() {
	Ve(function() {
		for (var e; e = dt.shift();) ct.call(e);
	});
}
function yt() {
	dt.push(this) === 1 && (e.requestAnimationFrame || _t)(vt);
}
// src/data/source.ts
var bt = (e, t) => `/${e.split("/")[1]}/${t}/`;
async function xt(e) {
	let t = new Blob([e]).stream().pipeThrough(new DecompressionStream("gzip"));
	return new Uint8Array(await new Response(t).arrayBuffer());
}
var St = (e) => JSON.parse(new TextDecoder().decode(e));
// src/numbers.ts
function Ct(e) {
	let t = e.length, n = new Uint32Array(t), r = new Uint32Array(Float32Array.from(e, (e) => Number.isNaN(e) ? NaN : e + 0).buffer);
	for (let i = 0; i < t; i++) n[i] = Number.isNaN(e[i]) ? 4294967295 : r[i] & 2147483648 ? ~r[i] : r[i] | 2147483648;
	let i = new Uint32Array(t).map((e, t) => t), a = new Uint32Array(t);
	for (let e of [0, 16]) wt(n, e, i, a), [i, a] = [a, i];
	return i;
}
function wt(e, t, n, r) {
	let i = /* @__PURE__ */ new Uint32Array(65537);
	for (let n of e) i[(n >>> t & 65535) + 1]++;
	for (let e = 0; e < 65536; e++) i[e + 1] += i[e];
	for (let a of n) r[i[e[a] >>> t & 65535]++] = a;
}
function Tt(e) {
	let t = Ct(e.map((e) => -e)), n = new Uint32Array(t.length);
	for (let e = 0; e < t.length; e++) n[t[e]] = e;
	return n;
}
function Et(e, t, n) {
	let r = !1;
	for (let i = 0, a = n.length - 1; i < n.length; a = i++) {
		let [o, s] = n[i], [c, l] = n[a];
		s > t != l > t && e < (c - o) * (t - s) / (l - s) + o && (r = !r);
	}
	return r;
}
var Dt = {
	"-": "⁻",
	0: "⁰",
	1: "¹",
	2: "²",
	3: "³",
	4: "⁴",
	5: "⁵",
	6: "⁶",
	7: "⁷",
	8: "⁸",
	9: "⁹"
}, Ot = (e) => e === 0 ? "1" : `10${[...String(e)].map((e) => Dt[e]).join("")}`;
function kt(e, t, n, r) {
	return t > e ? r && t - e < 400 ? At(e, t, n) : jt(e, t, n) : [];
}
function At(e, t, n) {
	let r = n / (t - e);
	if (r > 600) return jt(e, t, n).map((e) => ({
		...e,
		label: L(10 ** e.at)
	}));
	let i = Math.max(1, Math.ceil(34 / r)), a = [];
	for (let n = Math.floor(e); n <= Math.ceil(t); n++) for (let o of r < 44 ? [1] : [
		1,
		2,
		3,
		4,
		5,
		6,
		7,
		8,
		9
	]) {
		let s = n + Math.log10(o);
		if (s < e || s > t) continue;
		let c = o === 1 ? n % i === 0 : r > 210 && (o === 2 || o === 5), l = r > 210 ? L(o * 10 ** n) : Ot(n);
		a.push({
			at: s,
			label: c ? l : "",
			major: o === 1
		});
	}
	return a;
}
function jt(e, t, n) {
	let r = (t - e) / Math.max(2, n / 80), i = 10 ** Math.floor(Math.log10(r)), a = [
		1,
		2,
		5,
		10
	].map((e) => e * i).find((e) => e >= r * .999) ?? r, o = [];
	for (let n = Math.ceil(e / a); n * a <= t; n++) o.push({
		at: n * a,
		label: n === 0 ? "0" : L(Number((n * a).toPrecision(10))),
		major: !0
	});
	return o;
}
function L(e) {
	if (Number.isNaN(e)) return "–";
	if (!Number.isFinite(e)) return e > 0 ? "∞" : "−∞";
	let t = Math.abs(e), n = e < 0 ? "−" : "";
	if (t === 0) return "0";
	if (t >= .001 && t < 1e5) return n + String(Number(t.toPrecision(t >= 1e3 ? 5 : 3)));
	let r = Math.floor(Math.log10(t));
	return `${n}${(t / 10 ** r).toFixed(1)}×${Ot(r)}`;
}
function Mt(e) {
	let t = Math.abs(e);
	return t >= .001 && t < 1e3 && !Number.isInteger(e) ? (e < 0 ? "−" : "") + t.toPrecision(3) : L(e);
}
var R = (e) => Math.round(e).toLocaleString("en-US").replace(/,/g, " ");
function z(e) {
	if (!Number.isFinite(e)) return "–";
	let t = e * 100;
	return `${t >= 10 ? t.toFixed(0) : t >= 1 ? t.toFixed(1) : Number(t.toPrecision(2))} %`;
}
function Nt(e, t) {
	let n = Math.max(1, Math.floor(e.length / 2e4)), r = [];
	for (let t = 0; t < e.length; t += n) Number.isFinite(e[t]) && r.push(e[t]);
	return r.sort((e, t) => e - t), r.length ? r[Math.round(t * (r.length - 1))] : NaN;
}
// src/map/gestures.ts
function Pt(e) {
	let { store: t, top: n } = e, r = new AbortController(), { signal: i } = r, a = null, o = (t) => e.handle !== null && Math.hypot(e.handle[0] - t.offsetX, e.handle[1] - t.offsetY) < 12, s = (t) => {
		let n = e.pinAt(t.offsetX, t.offsetY);
		return n >= 0 ? n : e.pick(t.offsetX, t.offsetY);
	};
	return n.addEventListener("pointerdown", (r) => {
		if (r.button) return;
		n.setPointerCapture(r.pointerId);
		let i = o(r) ? "threshold" : r.shiftKey ? "lasso" : t.tool.peek(), s = r.ctrlKey || r.metaKey;
		a = {
			mode: i,
			x: r.offsetX,
			y: r.offsetY,
			domain: e.frame.domain,
			moved: !1,
			add: s
		}, e.lasso = i === "lasso" ? [[r.offsetX, r.offsetY]] : [];
	}, { signal: i }), n.addEventListener("pointermove", (r) => {
		a ? (Math.hypot(r.offsetX - a.x, r.offsetY - a.y) > 3 && (a.moved = !0), a.moved && Ft(e, a, r.offsetX, r.offsetY)) : (t.hover.value = s(r), n.style.cursor = o(r) ? "grab" : t.hover.peek() >= 0 ? "pointer" : t.tool.peek() === "pan" ? "default" : "crosshair");
	}, { signal: i }), n.addEventListener("pointerup", (t) => {
		let n = a;
		a = null, n && (n.moved ? Lt(e, n) : Rt(e, s(t), n.add), e.lasso = [], e.changed("hover"));
	}, { signal: i }), n.addEventListener("pointerleave", () => {
		a || (t.hover.value = -1);
	}, { signal: i }), n.addEventListener("dblclick", () => e.reset(), { signal: i }), n.addEventListener("wheel", (t) => {
		t.preventDefault();
		let n = Math.exp(Math.max(-80, Math.min(80, t.deltaY || t.deltaX)) * .0028);
		e.zoom(n, t.offsetX, t.offsetY, t.shiftKey ? "x" : t.altKey ? "y" : "xy");
	}, {
		signal: i,
		passive: !1
	}), () => r.abort();
}
function Ft(e, t, n, r) {
	let { frame: i, store: a } = e;
	t.mode === "pan" ? e.show(i.shifted(t.domain, n - t.x, r - t.y)) : t.mode === "threshold" ? a.threshold.value = It(e, n, r) : t.mode === "box" ? e.lasso = [
		[t.x, t.y],
		[n, t.y],
		[n, r],
		[t.x, r]
	] : e.lasso.push([n, r]), e.changed("hover");
}
function It(e, t, n) {
	let [r, i] = e.frame.back(t, n), [a, o] = e.store.log.peek();
	return Math.max(0, (a ? 10 ** r : r) * (o ? 10 ** i : i));
}
function Lt(e, t) {
	let { store: n, frame: r } = e;
	if (t.mode === "pan") return;
	if (t.mode === "threshold") {
		let e = n.threshold.peek(), t = n.shown.peek(), r = n.byProduct.slice(n.byProduct.length - n.countAbove(e)).filter((e) => t[e]);
		n.select(r, `leverage × error ≥ ${L(e)}`);
		return;
	}
	let i = e.lasso.map(([e, t]) => r.back(e, t)), a = e.within((e, t) => Et(e, t, i)), [o, s] = n.log.peek();
	n.region.value = i.map(([e, t]) => [o ? 10 ** e : e, s ? 10 ** t : t]), n.select(t.add ? [.../* @__PURE__ */ new Set([...n.selection.peek(), ...a])] : a, `inside the ${t.mode}`);
}
function Rt(e, t, n) {
	let { store: r } = e;
	t < 0 ? n || r.clear() : (r.focus.value = t, n && r.select([.../* @__PURE__ */ new Set([...r.selection.peek(), t])], "picked one by one"));
}
function zt(e, t) {
	let { store: n, frame: r } = e, [i, a] = [r.width / 2, r.height / 2], o = (t, n) => e.show(r.shifted(r.domain, t * 80, n * 80)), s = {
		ArrowDown: () => t.shiftKey ? o(0, -1) : n.step(1),
		ArrowUp: () => t.shiftKey ? o(0, 1) : n.step(-1),
		ArrowRight: () => t.shiftKey ? o(-1, 0) : n.step(1),
		ArrowLeft: () => t.shiftKey ? o(1, 0) : n.step(-1),
		"+": () => e.zoom(.7, i, a),
		"=": () => e.zoom(.7, i, a),
		"-": () => e.zoom(1 / .7, i, a),
		0: () => e.reset(),
		v: () => n.tool.value = "pan",
		l: () => n.tool.value = "lasso",
		b: () => n.tool.value = "box",
		Enter: () => n.focus.peek() >= 0 && n.select([n.focus.peek()], "by keyboard"),
		Escape: () => n.clear(),
		" ": () => n.trajectory && (n.playing.value = !n.playing.peek())
	}[t.key];
	return !s || t.ctrlKey || t.metaKey || t.altKey ? !1 : (s(), !0);
}
// src/theme.ts
var Bt = (e) => [
	1,
	3,
	5
].map((t) => Number.parseInt(e.slice(t, t + 2), 16));
function Vt(e) {
	let t = /* @__PURE__ */ new Uint8Array(768);
	for (let n = 0; n < 256; n++) {
		let r = n / 255, i = 0;
		for (; i < e.length - 2 && r > e[i + 1][0];) i++;
		let a = (r - e[i][0]) / (e[i + 1][0] - e[i][0]), [o, s] = [Bt(e[i][1]), Bt(e[i + 1][1])];
		for (let e = 0; e < 3; e++) t[3 * n + e] = Math.round(o[e] + (s[e] - o[e]) * a);
	}
	return t;
}
var B = {
	light: {
		paper: "#fdfdfc",
		ink: "#1b1f24",
		muted: "#5f6670",
		bars: "#b9c3cf",
		accent: "#0a66c2",
		onAccent: "#ffffff",
		faint: "#d5d9de",
		right: "#4477aa",
		wrong: "#c4400f",
		ramp: Vt([
			[0, "#bfcad8"],
			[.3, "#a1b6d3"],
			[.55, "#7f93cb"],
			[.72, "#7c5db8"],
			[.86, "#b23a86"],
			[1, "#d9481c"]
		]),
		density: Vt([
			[0, "#dfe6ee"],
			[.35, "#9db6d8"],
			[.65, "#5a6fb6"],
			[1, "#2b1f5e"]
		]),
		diverging: Vt([
			[0, "#0b4f9e"],
			[.3, "#5b93d0"],
			[.5, "#c3c8cf"],
			[.7, "#e0925c"],
			[1, "#b33a06"]
		]),
		classes: [
			"#4d22fa",
			"#e8618f",
			"#4d790d",
			"#7b93f0",
			"#790d63",
			"#a3a35c",
			"#b93863",
			"#2fae0c",
			"#8a3fc4",
			"#38380d"
		]
	},
	dark: {
		paper: "#14171c",
		ink: "#e8eaed",
		muted: "#98a1ad",
		bars: "#475264",
		accent: "#5cb3ff",
		onAccent: "#0b1220",
		faint: "#333a44",
		right: "#6fa8dc",
		wrong: "#ff8a5c",
		ramp: Vt([
			[0, "#3f4959"],
			[.3, "#446a9c"],
			[.55, "#6f7ad2"],
			[.72, "#bd7fdc"],
			[.86, "#fb93a6"],
			[1, "#ffd678"]
		]),
		density: Vt([
			[0, "#262d3a"],
			[.35, "#3f5590"],
			[.65, "#a765c4"],
			[1, "#ffe2a8"]
		]),
		diverging: Vt([
			[0, "#7cc4ff"],
			[.3, "#3f7fbf"],
			[.5, "#5a6472"],
			[.7, "#c06a35"],
			[1, "#ffb27a"]
		]),
		classes: [
			"#a48efa",
			"#faa40d",
			"#79facf",
			"#d84fbb",
			"#8ecf79",
			"#fab9fa",
			"#2fae82",
			"#fafa79",
			"#b95cf5",
			"#8f9e4a"
		]
	}
}, Ht = () => matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light", Ut = (e, t) => B[e].classes[t % 10], V = {
	left: 62,
	right: 62,
	top: 62,
	bottom: 46
}, Wt = class {
	width = 0;
	height = 0;
	domain = [
		0,
		1,
		0,
		1
	];
	get plotWidth() {
		return this.width - V.left - V.right;
	}
	get plotHeight() {
		return this.height - V.top - V.bottom;
	}
	get right() {
		return this.width - V.right;
	}
	get bottom() {
		return this.height - V.bottom;
	}
	x(e) {
		let [t, n] = this.domain;
		return V.left + (e - t) / (n - t) * this.plotWidth;
	}
	y(e) {
		let [, , t, n] = this.domain;
		return V.top + (1 - (e - t) / (n - t)) * this.plotHeight;
	}
	back(e, t) {
		let [n, r, i, a] = this.domain;
		return [n + (e - V.left) / this.plotWidth * (r - n), i + (1 - (t - V.top) / this.plotHeight) * (a - i)];
	}
	inside(e, t) {
		return e >= V.left && e <= this.right && t >= V.top && t <= this.bottom;
	}
	zoomed(e, t, n, r) {
		let [i, a] = this.back(t, n), [o, s, c, l] = this.domain, u = r.includes("x") ? e : 1, d = r.includes("y") ? e : 1;
		return [
			i - (i - o) * u,
			i + (s - i) * u,
			a - (a - c) * d,
			a + (l - a) * d
		];
	}
	shifted(e, t, n) {
		let r = t / this.plotWidth * (e[1] - e[0]), i = n / this.plotHeight * (e[3] - e[2]);
		return [
			e[0] - r,
			e[1] - r,
			e[2] + i,
			e[3] + i
		];
	}
};
function Gt(e, t) {
	let [n, r] = [Infinity, -Infinity];
	for (let t of e) Number.isFinite(t) && (t < n && (n = t), t > r && (r = t));
	return r >= n ? t ? r - n < 1e-6 ? [n - 1, r + 1] : [n - .06 * (r - n) - .05, r + .08 * (r - n) + .05] : r > 0 ? [-.02 * r, 1.08 * r] : [n - 1, 1] : t ? [-3, 1] : [0, 1];
}
// src/map/svg.ts
var Kt = {
	top: .8,
	middle: .35,
	bottom: -.22,
	alphabetic: 0
}, qt = {
	left: "start",
	center: "middle",
	right: "end"
}, Jt = (e) => Array.from(e, (e) => /^[\ud800-\udfff]$/.test(e) ? "�" : e).join("").replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "�").replace(/[&<>"]/g, (e) => `&#${e.charCodeAt(0)};`), H = (e) => String(Number(e.toFixed(2))), Yt = {
	fillStyle: "#000",
	strokeStyle: "#000",
	lineWidth: 1,
	globalAlpha: 1,
	font: "400 10px sans-serif",
	lineJoin: "miter",
	textAlign: "left",
	textBaseline: "alphabetic"
}, Xt = class {
	width;
	height;
	name;
	measure;
	fillStyle = Yt.fillStyle;
	strokeStyle = Yt.strokeStyle;
	lineWidth = Yt.lineWidth;
	globalAlpha = Yt.globalAlpha;
	font = Yt.font;
	lineJoin = Yt.lineJoin;
	textAlign = Yt.textAlign;
	textBaseline = Yt.textBaseline;
	out = [];
	open = [];
	groups = 0;
	clips = 0;
	path = "";
	dash = [];
	constructor(e, t, n, r) {
		this.width = e, this.height = t, this.name = n, this.measure = r;
	}
	nested(e) {
		let t = `width="${H(this.width)}" height="${H(this.height)}"`;
		return `<svg x="${H(e)}" ${t}>${this.out.join("")}</svg>`;
	}
	save() {
		this.open.push(this.groups), this.groups = 0;
	}
	restore() {
		this.out.push("</g>".repeat(this.groups)), this.groups = this.open.pop() ?? 0;
	}
	clip() {
		let e = `${this.name}-clip-${this.clips++}`;
		this.out.push(`<clipPath id="${e}"><path d="${this.path}"/></clipPath><g clip-path="url(#${e})">`), this.groups++;
	}
	beginPath() {
		this.path = "";
	}
	closePath() {
		this.path && (this.path += "Z");
	}
	moveTo(e, t) {
		this.path += `M${H(e)} ${H(t)}`;
	}
	lineTo(e, t) {
		this.path += `${this.path ? "L" : "M"}${H(e)} ${H(t)}`;
	}
	arc(e, t, n) {
		let r = (e) => `a${H(n)} ${H(n)} 0 1 0 ${H(e * 2 * n)} 0`;
		this.path += `M${H(e - n)} ${H(t)}${r(1)}${r(-1)}Z`;
	}
	rect(e, t, n, r) {
		this.path += `M${H(e)} ${H(t)}h${H(n)}v${H(r)}h${H(-n)}Z`;
	}
	roundRect(e, t, n, r, i) {
		let a = Math.min(Number(i), n / 2, r / 2), o = (e, t) => `a${a} ${a} 0 0 1 ${e * a} ${t * a}`, [s, c] = [H(n - 2 * a), H(r - 2 * a)];
		this.path += `M${H(e + a)} ${H(t)}h${s}${o(1, 1)}v${c}${o(-1, 1)}h-${s}${o(-1, -1)}v-${c}${o(1, -1)}Z`;
	}
	stroke() {
		this.path && this.out.push(`<path d="${this.path}" fill="none" ${this.line()}/>`);
	}
	fill() {
		this.path && this.out.push(`<path d="${this.path}" ${this.ink()}/>`);
	}
	fillRect(e, t, n, r) {
		this.out.push(`<rect x="${H(e)}" y="${H(t)}" width="${H(n)}" height="${H(r)}" ${this.ink()}/>`);
	}
	disc(e, t, n, r, i, a) {
		let o = a ? `fill="none" stroke="${r}" stroke-width="2"` : `fill="${r}"`;
		this.out.push(`<circle cx="${H(e)}" cy="${H(t)}" r="${H(n)}" ${o} opacity="${H(i)}"/>`);
	}
	fillText(e, t, n) {
		this.words(e, t, n, this.ink());
	}
	strokeText(e, t, n) {
		this.words(e, t, n, `fill="none" stroke-linejoin="${this.lineJoin}" ${this.line()}`);
	}
	measureText(e) {
		return this.measure(this.font, e);
	}
	setLineDash(e) {
		this.dash = [...e];
	}
	drawImage(e, t, n, r = 0, i = 0) {
		let a = e.toDataURL("image/png"), o = `x="${H(t)}" y="${H(n)}" width="${H(r)}" height="${H(i)}"`;
		this.out.push(`<image ${o} preserveAspectRatio="none" href="${a}"/>`);
	}
	words(e, t, n, r) {
		let [, i, a, o] = /^(\d+) ([\d.]+)px (.*)$/.exec(this.font) ?? [
			"",
			"400",
			"10",
			"sans-serif"
		], s = `font-family="${Jt(o)}" font-size="${a}" font-weight="${i}"`, c = `x="${H(t)}" y="${H(n + Kt[this.textBaseline] * Number(a))}"`;
		this.out.push(`<text ${c} text-anchor="${qt[this.textAlign]}" ${s} ${r}>${Jt(e)}</text>`);
	}
	line() {
		let e = this.dash.length ? ` stroke-dasharray="${this.dash.join(" ")}"` : "";
		return `stroke="${this.strokeStyle}" stroke-width="${H(this.lineWidth)}" stroke-opacity="${H(this.globalAlpha)}"${e}`;
	}
	ink() {
		return `fill="${this.fillStyle}" fill-opacity="${H(this.globalAlpha)}"`;
	}
}, Zt = 2e4;
function Qt(e) {
	let t = document.createElement("canvas");
	t.width = e.reduce((e, t) => e + t.top.width, 0), t.height = Math.max(...e.map((e) => e.top.height));
	let n = t.getContext("2d");
	n.fillStyle = getComputedStyle(e[0].root).backgroundColor, n.fillRect(0, 0, t.width, t.height);
	let r = 0;
	for (let t of e) {
		let e = t.root.getBoundingClientRect(), i = t.top.width / e.width;
		for (let a of t.root.querySelectorAll("canvas")) {
			let t = a.getBoundingClientRect(), [o, s] = [t.left - e.left, t.top - e.top];
			n.drawImage(a, r + o * i, s * i, t.width * i, t.height * i);
		}
		r += t.top.width;
	}
	return new Promise((e) => t.toBlob(e));
}
function $t(e) {
	let t = e.reduce((e, t) => e + t.frame.width, 0), n = Math.max(...e.map((e) => e.frame.height)), { paper: r } = B[e[0].store.theme.peek()], i = 0, a = e.map((e, t) => {
		let n = en(e, `map${t}`).nested(i);
		return i += e.frame.width, n;
	});
	return `<svg xmlns="http://www.w3.org/2000/svg" ${`width="${t}" height="${n}" viewBox="0 0 ${t} ${n}"`}>${`<rect width="100%" height="100%" fill="${r}"/>`}${a.join("")}</svg>\n`;
}
function en(e, t) {
	let { frame: n } = e, r = document.createElement("canvas").getContext("2d"), i = new Xt(n.width, n.height, t, (e, t) => (r.font = e, r.measureText(t)));
	if (e.store.n > Zt || e.store.marks.peek() === "density") i.drawImage(e.pixels, V.left, V.top, n.plotWidth, n.plotHeight);
	else for (let t of e.discs()) i.disc(...t);
	return e.overlay(i), i;
}
// src/map/axes.ts
var tn = (e, t, n = 400) => {
	e.font = `${n} ${t}px Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
};
function nn(e, t, n, r) {
	let { right: i, bottom: a } = t, o = kt(t.domain[0], t.domain[1], t.plotWidth, r[0]), s = kt(t.domain[2], t.domain[3], t.plotHeight, r[1]);
	e.lineWidth = 1, e.strokeStyle = n.ink;
	for (let n of o) an(e, n.major ? .07 : 0, [
		t.x(n.at),
		V.top,
		t.x(n.at),
		a
	]);
	for (let n of s) an(e, n.major ? .07 : 0, [
		V.left,
		t.y(n.at),
		i,
		t.y(n.at)
	]);
	for (let n of o) an(e, .6, [
		t.x(n.at),
		a,
		t.x(n.at),
		a + (n.major ? 5 : 3)
	]);
	for (let n of s) an(e, .6, [
		V.left - (n.major ? 5 : 3),
		t.y(n.at),
		V.left,
		t.y(n.at)
	]);
	tn(e, 11), e.fillStyle = n.muted, e.textAlign = "center", e.textBaseline = "top";
	let c = 0;
	for (let n of o) {
		let r = e.measureText(n.label).width / 2;
		!n.label || t.x(n.at) - r < c || (e.fillText(n.label, t.x(n.at), a + 8), c = t.x(n.at) + r + 8);
	}
	e.textAlign = "right", e.textBaseline = "middle";
	for (let n of s) n.label && e.fillText(n.label, V.left - 9, t.y(n.at));
}
function rn(e, t, n, r) {
	tn(e, 12, 500), e.fillStyle = n.ink, e.textBaseline = "alphabetic", e.textAlign = "right", e.fillText("Bayesian leverage (effective parameters) →", t.right, t.bottom + 38), e.textAlign = "left", e.fillText("↑ Prediction error (units of the target)", 10, 18), tn(e, 11), e.fillStyle = n.muted, e.fillText(r[0], V.left, t.bottom + 38), e.fillText(r[1], 10, 34);
}
function an(e, t, [n, r, i, a]) {
	t && (e.globalAlpha = t, e.beginPath(), e.moveTo(Math.round(n) + .5, Math.round(r) + .5), e.lineTo(Math.round(i) + .5, Math.round(a) + .5), e.stroke(), e.globalAlpha = 1);
}
function on(e, t, n, r) {
	e.beginPath();
	let i = !1;
	for (let a = V.left; a <= t.right; a += 2) {
		let [o] = t.back(a, 0), s = sn(t, n, r, o);
		!Number.isFinite(s) || s < V.top - 500 || (i ? e.lineTo(a, s) : e.moveTo(a, s), i = !0);
	}
	e.stroke();
}
function sn(e, t, n, r) {
	let i = t[0] ? 10 ** r : r;
	return !(i > 0) || !(n > 0) ? NaN : e.y(t[1] ? Math.log10(n / i) : n / i);
}
function cn(e, t, n, r, i) {
	let [, a, , o] = t.domain, s = Math.log10((r[0] ? 10 ** a : a) * (r[1] ? 10 ** o : o)), c = [...i];
	if (!Number.isFinite(s)) return c;
	let l = !1, u = r[0] && r[1] ? 14 : 4;
	for (let i = Math.floor(s); i > s - u; i--) {
		e.strokeStyle = n.muted, e.globalAlpha = .5, e.lineWidth = 1, e.setLineDash([2, 4]), on(e, t, r, 10 ** i), e.setLineDash([]), e.globalAlpha = 1;
		let a = `${l ? "" : "leverage × error = "}${Ot(i)}`;
		l = ln(e, t, n, r, 10 ** i, a, c) || l;
	}
	return c;
}
function ln(e, t, n, r, i, a, o) {
	tn(e, 10.5);
	let s = e.measureText(a).width, c = [t.right - 8, ...Array.from({ length: 40 }, (e, n) => t.right - 8 - 20 * (n + 1))];
	for (let l of c) {
		let c = sn(t, r, i, t.back(l, 0)[0]), u = [
			l - s,
			c - 15,
			l,
			c
		];
		if (!(l - s < V.left || !(c - 15 > V.top && c < t.bottom - 4)) && !o.some((e) => un(e, u))) return e.textAlign = "right", e.textBaseline = "bottom", dn(e, n, a, l, c - 2, n.muted), o.push(u), !0;
	}
	return !1;
}
var un = (e, t) => e[0] < t[2] && t[0] < e[2] && e[1] < t[3] && t[1] < e[3];
function dn(e, t, n, r, i, a) {
	e.strokeStyle = t.paper, e.lineWidth = 3.5, e.lineJoin = "round", e.strokeText(n, r, i), e.fillStyle = a, e.fillText(n, r, i);
}
function fn(e, t, n, r, i, a) {
	e.strokeStyle = n.accent, e.lineWidth = 1.5, on(e, t, r, i);
	let o = pn(t, r, i);
	if (!o) return {
		handle: o,
		box: null
	};
	e.fillStyle = n.paper, e.beginPath(), e.arc(o[0], o[1], 5.5, 0, 7), e.fill(), e.stroke(), tn(e, 11, 600);
	let s = `top ${z(a)}`, c = e.measureText(s).width + 14, l = o[0] + 12 + c > t.right ? o[0] - c - 12 : o[0] + 12, u = o[1] - 24 < V.top + 2 ? o[1] + 8 : o[1] - 24;
	return e.fillStyle = n.accent, e.beginPath(), e.roundRect(l, u, c, 18, 9), e.fill(), e.fillStyle = n.onAccent, e.textAlign = "left", e.textBaseline = "middle", e.fillText(s, l + 7, u + 9.5), {
		handle: o,
		box: [
			l - 4,
			u - 4,
			l + c + 4,
			u + 22
		]
	};
}
function pn(e, t, n) {
	let r = [];
	for (let i = V.left + 12; i < e.right - 12; i += 4) {
		let a = sn(e, t, n, e.back(i, 0)[0]);
		a > V.top + 12 && a < e.bottom - 12 && r.push([i, a]);
	}
	return r.length ? r[Math.floor(r.length * .3)] : null;
}
var mn = 5, hn = class {
	across = [];
	up = [];
	count(e, t, n, r, i, a) {
		let [o, s] = [Math.ceil(e.plotWidth / mn), Math.ceil(e.plotHeight / mn)], [c, l, u, d] = e.domain;
		this.across = [new Float32Array(o), new Float32Array(o)], this.up = [new Float32Array(s), new Float32Array(s)];
		for (let e = 0; e < t.length; e += a) {
			if (r[e] === 0 || !(t[e] >= c && t[e] < l && n[e] >= u && n[e] < d)) continue;
			let a = Math.floor((t[e] - c) / (l - c) * o), f = Math.floor((d - n[e]) / (d - u) * s);
			this.across[0][a]++, this.up[0][f]++, i && r[e] !== 1 && (this.across[1][a]++, this.up[1][f]++);
		}
	}
	draw(e, t, n, r) {
		for (let i of r ? [0, 1] : [0]) e.fillStyle = i ? n.accent : n.bars, e.globalAlpha = i ? 1 : r ? .5 : .85, this.bars(this.across[0], this.across[i], 20, (t, n) => e.fillRect(V.left + t * mn, V.top - 5 - n, 4, n)), this.bars(this.up[0], this.up[i], V.right - 18, (n, r) => e.fillRect(t.right + 6, V.top + n * mn, r, 4));
		e.globalAlpha = 1;
	}
	bars(e, t, n, r) {
		let i = e.reduce((e, t) => Math.max(e, t), 1);
		t.forEach((e, t) => {
			e && r(t, Math.sqrt(e / i) * n);
		});
	}
}, gn = {
	change: "change of sensitivity between the maps",
	drift: "change of leverage × error since the first step"
}, _n = (e) => e === "change" || e === "drift", vn = (e) => [...e.models.length > 1 ? ["change"] : [], ...e.trajectory ? ["drift"] : []];
function yn(e, t, n) {
	if (t === "drift") return e.trajectory.drift(n);
	let [r, i] = e.models;
	return r.sensitivity.map((e, t) => e > 0 && i.sensitivity[t] > 0 ? Math.log10(i.sensitivity[t] / e) : NaN);
}
var bn = (e) => Math.max(Math.log10(1.1), Nt(e.map(Math.abs), .99) || 0), xn = (e, t, n) => bn(yn(e, t, n));
function Sn(e, t, n) {
	let r = yn(e, t, n), i = bn(r);
	return Uint8Array.from(r, (e) => Number.isFinite(e) ? Math.round(127 + 127 * Math.max(-1, Math.min(1, e / i))) : 255);
}
// src/map/cloud.ts
var Cn = class {
	store;
	k;
	x;
	y;
	hidden = [0, 0];
	constructor(e, t) {
		this.store = e, this.k = t, this.x = new Float32Array(e.n), this.y = new Float32Array(e.n);
	}
	update() {
		let { trajectory: e, time: t, log: n, models: r } = this.store;
		this.k === 0 && e !== null && t.value < e.steps - 1 ? (e.fill(t.value, this.x, this.y), n.value[0] || kn(this.x), n.value[1] || kn(this.y)) : (this.x.set(n.value[0] ? r[this.k].leverage.map(Math.log10) : r[this.k].leverage), this.y.set(n.value[1] ? r[this.k].error.map(Math.log10) : r[this.k].error)), this.hidden = [wn(this.x), wn(this.y)];
	}
}, wn = (e) => e.reduce((e, t) => e + +(t === -Infinity), 0), Tn = .6, En = (e) => {
	let t = /* @__PURE__ */ new Uint8Array(768);
	for (let [n, r] of e.entries()) t.set(r, 3 * n);
	return t;
};
function Dn(e, t, n) {
	let { table: r, n: i } = e, a = e.color.value, o = e.theme.value, s = (/* @__PURE__ */ new Float32Array(256)).fill(.88), c = (e, t) => (n.has(e) || n.set(e, t()), n.get(e));
	if (a === "correct") {
		let t = c("correct", () => Uint8Array.from({ length: i }, (t, n) => +!!e.wrong(n)));
		return s.set([.35, .92]), {
			codes: t,
			lut: En([Bt(B[o].right), Bt(B[o].wrong)]),
			alpha: s
		};
	}
	if (_n(a)) {
		let t = () => Sn(e, a, e.time.value), n = a === "drift" ? t() : c(a, t);
		for (let e = 0; e < 255; e++) s[e] = Tn + .35 * Math.abs(e / 127 - 1);
		s[255] = Tn;
		let r = B[o].diverging.slice();
		return r.set(Bt(B[o].faint), 765), {
			codes: n,
			lut: r,
			alpha: s
		};
	}
	if (r.about(a).kind === "class") return {
		codes: c(a, () => Uint8Array.from(r.codes(a), (e) => e === 65535 ? 255 : e % 255)),
		lut: En([...Array.from({ length: 255 }, (e, t) => Bt(Ut(o, t))), Bt(B[o].faint)]),
		alpha: s
	};
	let l = t && r.has(`${a}@${t}`) ? `${a}@${t}` : a, u = c(l, () => e.shade(l).codes);
	for (let e = 0; e < 256; e++) s[e] = Tn + .35 * (e / 255) ** 1.5;
	return {
		codes: u,
		lut: B[o].ramp,
		alpha: s
	};
}
function On(e, t) {
	return (e < 3e3 ? 2.9 : e < 2e4 ? 2.1 : e < 15e4 ? 1.5 : 1.05) * Math.min(2.2, Math.max(1, t ** .35));
}
function kn(e) {
	for (let t = 0; t < e.length; t++) e[t] = 10 ** e[t];
}
// src/map/crowd.ts
function An(e, t, n, r, i = 1) {
	let { x: a, y: o, state: s, kx: c, bx: l, ky: u, by: d } = e, f = Math.ceil(t / r), p = new Float32Array(f * Math.ceil(n / r));
	for (let e = 0; e < a.length; e += i) {
		if (s[e] === 0) continue;
		let m = a[e] * c + l, h = o[e] * u + d;
		m >= 0 && h >= 0 && m < t && h < n && (p[(h / r | 0) * f + (m / r | 0)] += i);
	}
	return p;
}
var jn = 2, Mn = .25, Nn = class {
	cell;
	columns;
	strengths;
	constructor(e, t, n, r, i, a) {
		this.cell = r, this.columns = Math.ceil(t / r);
		let o = Fn(An(e, t, n, r, a), this.columns), s = Math.PI * i ** 2 / r ** 2;
		this.strengths = o.map((e) => Pn(e * s));
	}
	at(e, t) {
		return this.strengths[(t / this.cell | 0) * this.columns + (e / this.cell | 0)] ?? 1;
	}
}, Pn = (e) => Math.max(Mn, Math.min(1, (jn / e) ** .5));
function Fn(e, t) {
	return In(In(e, 1, (e) => e % t > 0, (e) => e % t < t - 1), t, (e) => e >= t, (n) => n < e.length - t);
}
var In = (e, t, n, r) => e.map((i, a) => (i + (n(a) ? e[a - t] : i) + (r(a) ? e[a + t] : i)) / 3), Ln = 8, Rn = 81, zn = class {
	px;
	py;
	columns;
	rows;
	head;
	next;
	constructor(e, t, n, r, i, a) {
		this.px = e, this.py = t, this.columns = Math.ceil(n / Ln) + 1, this.rows = Math.ceil(r / Ln) + 1, this.head = new Int32Array(this.columns * this.rows).fill(-1), this.next = new Int32Array(a.length);
		for (let e of i) a[e] && this.add(e);
	}
	add(e) {
		let [t, n] = [this.px(e), this.py(e)];
		if (!(t >= 0 && n >= 0)) return;
		let [r, i] = [Math.floor(t / Ln), Math.floor(n / Ln)];
		if (r >= this.columns || i >= this.rows) return;
		let a = i * this.columns + r;
		this.next[e] = this.head[a], this.head[a] = e;
	}
	nearest(e, t) {
		let [n, r] = [Math.floor(e / Ln), Math.floor(t / Ln)], [i, a] = [-1, Rn];
		for (let o = Math.max(0, r - 1); o <= Math.min(this.rows - 1, r + 1); o++) for (let r = Math.max(0, n - 1); r <= Math.min(this.columns - 1, n + 1); r++) for (let n = this.head[o * this.columns + r]; n >= 0; n = this.next[n]) {
			let r = (this.px(n) - e) ** 2 + (this.py(n) - t) ** 2;
			r < a && ([i, a] = [n, r]);
		}
		return i;
	}
}, Bn = 12;
function Vn(e, t, n, r, i, a) {
	let o = [];
	for (let s of t) {
		if (o.length >= a) break;
		let [t, c] = n(s);
		if (!e.inside(t, c) || o.some((e) => Math.hypot(e.x - t, e.y - c) < 24)) continue;
		let l = Wn(e, t, c, r, [...i, ...o.map(Un)], o);
		l && o.push({
			example: s,
			x: t,
			y: c,
			left: l[0],
			top: l[1]
		});
	}
	return o;
}
function Hn(e, t, n, r, i, a) {
	let o = [], s = [...i], c = 0;
	for (let i of t) {
		if (o.length >= a || c++ > 4 * a) break;
		let [t, l] = n(i);
		if (!e.inside(t, l)) continue;
		let u = r(i), d = [t + 7, t - 7 - u].map((e) => [
			e,
			l - 15 / 2,
			e + u,
			l + 15 / 2
		]).find((t) => t[0] > V.left && t[2] < e.right && t[1] > V.top && !s.some((e) => un(e, t)));
		d && (s.push([
			d[0] - 3,
			d[1],
			d[2] + 3,
			d[3]
		], [
			t - 4,
			l - 4,
			t + 4,
			l + 4
		]), o.push({
			example: i,
			left: d[0],
			top: d[1]
		}));
	}
	return o;
}
var Un = (e) => [
	e.left - 4,
	e.top - 4,
	e.left + 32 + 4,
	e.top + 32 + 4
];
function Wn(e, t, n, r, i, a) {
	let [o, s] = [null, Infinity];
	for (let c of [
		36,
		54,
		76,
		102,
		132
	]) for (let l = 0; l < 16; l++) {
		let u = t + Math.cos(l * Math.PI / 8) * c - 16, d = n + Math.sin(l * Math.PI / 8) * c - 16, f = [
			u - 2,
			d - 2,
			u + 32 + 2,
			d + 32 + 2
		];
		if (f[0] < V.left || f[1] < V.top || f[2] > e.right || f[3] > e.bottom || i.some((e) => un(e, f))) continue;
		let p = a.filter((e) => Math.hypot(e.x - u - 16, e.y - d - 16) < 26).length, m = 1.2 * r(u, d) + .35 * c + 40 * p;
		m < s && ([o, s] = [[u, d], m]);
	}
	return o;
}
function Gn(e, t) {
	let n = Math.ceil(e.width / Bn) + 1, r = new Float32Array(n * (Math.ceil(e.height / Bn) + 1));
	for (let [i, a] of t) e.inside(i, a) && r[Math.floor(a / Bn) * n + Math.floor(i / Bn)]++;
	return (e, t) => {
		let i = 0;
		for (let a = t; a < t + 32; a += Bn) for (let t = e; t < e + 32; t += Bn) i += r[Math.floor(a / Bn) * n + Math.floor(t / Bn)];
		return i;
	};
}
// src/map/raster.ts
var Kn = class {
	canvas;
	pen;
	image;
	kernels = [];
	kind = "";
	reach = 0;
	constructor(e) {
		this.canvas = e, this.pen = e.getContext("2d", { alpha: !1 }), this.image = this.pen.createImageData(1, 1);
	}
	resize(e, t) {
		(e !== this.canvas.width || t !== this.canvas.height) && (this.canvas.width = e, this.canvas.height = t, this.image = this.pen.createImageData(e, t), this.kind = "");
	}
	clear([e, t, n]) {
		new Uint32Array(this.image.data.buffer).fill(255 << 24 | n << 16 | t << 8 | e);
	}
	flush() {
		this.pen.putImageData(this.image, 0, 0);
	}
	points(e) {
		this.prepare(e.radius, e.hollow);
		let { order: t, x: n, y: r, state: i, want: a, codes: o, lut: s, alpha: c, kx: l, bx: u, ky: d, by: f, stride: p, crowd: m } = e, { data: h, width: g, height: _ } = this.image, v = this.reach, [y, b] = [g - v - 1, _ - v - 1];
		for (let e = 0; e < t.length; e += p) {
			let p = t[e];
			if (i[p] !== a) continue;
			let _ = n[p] * l + u, x = r[p] * d + f;
			if (!(_ >= v && x >= v && _ < y && x < b)) continue;
			let [S, C] = [_ | 0, x | 0], { offsets: w, weights: T } = this.kernels[((x - C) * 4 | 0) << 2 | (_ - S) * 4], E = o[p], D = c[E] * (m ? m.at(_, x) : 1) * 256 | 0, [ee, te, O] = [
				s[3 * E],
				s[3 * E + 1],
				s[3 * E + 2]
			], ne = (C * g + S) * 4;
			for (let e = 0; e < w.length; e++) {
				let t = ne + w[e], n = T[e] * D >> 8;
				h[t] += (ee - h[t]) * n + 128 >> 8, h[t + 1] += (te - h[t + 1]) * n + 128 >> 8, h[t + 2] += (O - h[t + 2]) * n + 128 >> 8;
			}
		}
	}
	density(e, t) {
		let { width: n, height: r } = this.image, i = Math.ceil(n / t), a = An(e, n, r, t), o = 254 / Math.log1p(a.reduce((e, t) => Math.max(e, t), 1)), s = new Uint32Array(this.image.data.buffer);
		for (let c = 0; c < r; c++) for (let r = 0; r < n; r++) {
			let l = a[(c / t | 0) * i + (r / t | 0)];
			if (!l) continue;
			let u = 3 * (1 + (Math.log1p(l) * o | 0));
			s[c * n + r] = 255 << 24 | e.lut[u + 2] << 16 | e.lut[u + 1] << 8 | e.lut[u];
		}
	}
	prepare(e, t) {
		let n = `${e} ${t}`;
		n !== this.kind && (this.kind = n, this.reach = Math.ceil(e + 1), this.kernels = Array.from({ length: 16 }, (n, r) => this.kernel(e, t, ((r & 3) + .5) / 4, ((r >> 2) + .5) / 4)));
	}
	kernel(e, t, n, r) {
		let i = [], a = [];
		for (let o = -this.reach; o <= this.reach; o++) for (let s = -this.reach; s <= this.reach; s++) {
			let c = Math.hypot(s + .5 - n, o + .5 - r), l = Math.max(0, Math.min(1, e - c + .5)), u = t ? Math.min(l, Math.max(0, Math.min(1, c - e + 2))) : l;
			u <= .04 || (i.push((o * this.image.width + s) * 4), a.push(Math.round(u * 255)));
		}
		return {
			offsets: Int32Array.from(i),
			weights: Uint8Array.from(a)
		};
	}
}, qn = 0, Jn = 1, Yn = 2, Xn = 3, Zn = 2e5, Qn = 400, $n = 400, er = 6, tr = 24, nr = class {
	store;
	k;
	frame = new Wt();
	positions;
	root = document.createElement("div");
	top;
	handle = null;
	lasso = [];
	state;
	histograms = new hn();
	raster;
	middle;
	upper;
	tiles = /* @__PURE__ */ new Map();
	shades = /* @__PURE__ */ new Map();
	stops = [];
	home = [
		0,
		1,
		0,
		1
	];
	grid = null;
	pins = [];
	ratio = 1;
	waiting = 0;
	idle = 0;
	quick = !1;
	stale = /* @__PURE__ */ new Set();
	constructor(e, t) {
		this.store = e, this.k = t, this.root.className = "mm-map", this.positions = new Cn(e, t), this.state = new Uint8Array(e.n);
		let [n, r, i] = [
			"mm-points",
			"mm-lines",
			"mm-top"
		].map((e) => this.canvas(e));
		this.top = i, this.raster = new Kn(n), this.middle = r.getContext("2d"), this.upper = i.getContext("2d");
		let a = new ResizeObserver(() => this.resize());
		a.observe(this.root), this.stops.push(() => a.disconnect()), this.react();
	}
	canvas(e) {
		let t = document.createElement("canvas");
		return t.className = e, this.root.append(t), t;
	}
	react() {
		let e = this.store, t = (e) => this.stops.push(st(e));
		t(() => {
			e.log.value, e.compare.value, this.positions.update(), this.home = this.homeDomain();
			let t = e.frame.peek();
			t ? this.move(t) : this.show(this.home);
		}), t(() => {
			e.time.value, this.positions.update(), this.changed("points", "axes", "hover");
		}), t(() => {
			let [t, n] = [e.shown.value, e.chosen.value], r = e.selection.value.length > 0, i = e.focusClass.value, a = i >= 0 ? e.table.codes("target") : null, o = e.table.numbers("warning");
			for (let s = 0; s < e.n; s++) {
				let c = r && !n[s] || a !== null && a[s] !== i;
				this.state[s] = !t[s] || !e.drawn[s] ? qn : c ? Jn : o[s] > 0 ? Xn : Yn;
			}
			this.changed("points", "axes", "hover");
		}), t(() => {
			e.theme.value, e.color.value, e.marks.value, this.changed("points", "axes", "hover");
		}), t(() => {
			e.threshold.value, e.pins.value, this.changed("axes");
		}), t(() => {
			e.hover.value, e.focus.value, this.changed("hover");
		}), t(() => {
			let t = e.frame.value;
			t && t.join() !== this.frame.domain.join() && this.move(t);
		});
	}
	destroy() {
		for (let e of this.stops) e();
		cancelAnimationFrame(this.waiting), this.waiting = -1;
	}
	get theme() {
		return B[this.store.theme.peek()];
	}
	homeDomain() {
		let { log: e, compare: t, models: n, trajectory: r } = this.store, i = t.peek() === "off" ? [n[this.k]] : n, a = (e, t) => {
			let n = i.map((n) => Gt(t ? n[e].map(Math.log10) : n[e], t)), a = r ? this.store.meta.steps : [], o = e === "leverage" ? 0 : 1;
			for (let e of a) n.push(t ? [e.low[o], e.high[o]] : [0, 10 ** e.high[o] * 1.05]);
			return [Math.min(...n.map((e) => e[0])), Math.max(...n.map((e) => e[1]))];
		};
		return [...a("leverage", e.peek()[0]), ...a("error", e.peek()[1])];
	}
	resize() {
		let { width: e, height: t } = this.root.getBoundingClientRect();
		this.frame.width = Math.max(260, e), this.frame.height = Math.max(220, t), this.ratio = Math.min(2, devicePixelRatio || 1);
		for (let e of [this.middle, this.upper]) e.canvas.width = this.frame.width * this.ratio, e.canvas.height = this.frame.height * this.ratio;
		let { canvas: n } = this.raster;
		this.raster.resize(Math.round(this.frame.plotWidth * this.ratio), Math.round(this.frame.plotHeight * this.ratio)), n.style.left = `${V.left}px`, n.style.top = `${V.top}px`, n.style.width = `${this.frame.plotWidth}px`, n.style.height = `${this.frame.plotHeight}px`, this.changed("points", "axes", "hover");
	}
	show(e) {
		this.move(e), this.store.frame.value = e.join() === this.home.join() ? null : [...e];
	}
	move(e) {
		this.frame.domain = e, this.quick = this.store.n > Zn, this.quick && (clearTimeout(this.idle), this.idle = window.setTimeout(() => {
			this.quick = !1, this.changed("points", "axes");
		}, 140)), this.changed("points", "axes", "hover");
	}
	reset() {
		this.show(this.home);
	}
	zoom(e, t, n, r = "xy") {
		this.show(this.frame.zoomed(e, t, n, r));
	}
	px = (e) => this.frame.x(this.positions.x[e]);
	py = (e) => this.frame.y(this.positions.y[e]);
	pick(e, t) {
		if (!this.frame.inside(e, t)) return -1;
		let { width: n, height: r } = this.frame;
		return this.grid ??= new zn(this.px, this.py, n, r, this.store.models[this.k].order, this.state), this.grid.nearest(e, t);
	}
	pinAt(e, t) {
		let n = this.pins.find((n) => e >= n.left && e <= n.left + 32 && t >= n.top && t <= n.top + 32);
		return n ? n.example : -1;
	}
	within(e) {
		let t = this.store.shown.peek(), [n, r, i, a] = this.frame.domain, o = [], { x: s, y: c } = this.positions;
		for (let l = 0; l < this.store.n; l++) t[l] && s[l] >= n && s[l] <= r && c[l] >= i && c[l] <= a && e(s[l], c[l]) && o.push(l);
		return o;
	}
	changed(...e) {
		for (let t of e) this.stale.add(t);
		e.includes("points") && (this.grid = null), this.waiting === 0 && (this.waiting = requestAnimationFrame(() => {
			this.waiting = 0, this.draw();
		}));
	}
	draw() {
		if (this.frame.width === 0 || this.frame.plotWidth < 10) return;
		let e = this.stale;
		this.stale = /* @__PURE__ */ new Set(), e.has("points") && this.drawPoints(), (e.has("axes") || e.has("points")) && (this.clear(this.middle), this.lines(this.middle, e.has("points"))), this.clear(this.upper), this.marks(this.upper);
	}
	get stride() {
		return this.quick ? Math.ceil(this.store.n / 12e4) : 1;
	}
	get some() {
		return this.store.selection.peek().length > 0 || this.store.focusClass.peek() >= 0;
	}
	drawPoints() {
		let { store: e, frame: t, ratio: n, placed: r } = this;
		if (this.raster.clear(Bt(this.theme.paper)), e.marks.peek() === "density") this.raster.density({
			...r,
			lut: this.theme.density
		}, Math.round(2 * n));
		else for (let e of this.passes()) this.raster.points({
			...e,
			...r,
			radius: e.radius * n
		});
		this.raster.flush(), this.histograms.count(t, this.positions.x, this.positions.y, this.state, this.some, this.stride);
	}
	get placed() {
		let { x: e, y: t } = this.positions, [n, r, i, a] = this.frame.domain, o = this.raster.canvas.width / (r - n), s = -this.raster.canvas.height / (a - i);
		return {
			x: e,
			y: t,
			state: this.state,
			kx: o,
			bx: -n * o,
			ky: s,
			by: -a * s
		};
	}
	crowd(e) {
		let { width: t, height: n } = this.raster.canvas;
		return new Nn(this.placed, t, n, er * this.ratio, e * this.ratio, this.stride);
	}
	passes() {
		let { store: e, frame: t } = this, n = (this.home[1] - this.home[0]) / (t.domain[1] - t.domain[0]), r = On(e.n, n), i = {
			order: e.models[this.k].order,
			stride: this.stride,
			hollow: !1,
			radius: r,
			crowd: null
		}, a = Dn(e, this.k, this.shades), o = {
			...a,
			alpha: (/* @__PURE__ */ new Float32Array(256)).fill(1)
		};
		return [
			...this.some ? [{
				...i,
				want: Jn,
				...this.grey()
			}] : [],
			{
				...i,
				...a,
				want: Yn,
				crowd: this.crowd(r)
			},
			{
				...i,
				...o,
				want: Xn,
				hollow: !0,
				radius: r + 1.6,
				stride: 1
			}
		];
	}
	*discs() {
		for (let { order: e, want: t, codes: n, lut: r, alpha: i, radius: a, hollow: o, crowd: s } of this.passes()) for (let c of e) {
			if (this.state[c] !== t || !this.frame.inside(this.px(c), this.py(c))) continue;
			let e = 3 * n[c], [l, u] = [this.px(c), this.py(c)], d = s?.at((l - V.left) * this.ratio, (u - V.top) * this.ratio) ?? 1;
			yield [
				l,
				u,
				a,
				`rgb(${r[e]},${r[e + 1]},${r[e + 2]})`,
				i[n[c]] * d,
				o
			];
		}
	}
	get pixels() {
		return this.raster.canvas;
	}
	overlay(e) {
		this.lines(e, !1), this.marks(e);
	}
	grey() {
		let e = /* @__PURE__ */ new Uint8Array(768);
		return e.set(Bt(this.theme.faint), 0), {
			codes: new Uint8Array(this.store.n),
			lut: e,
			alpha: (/* @__PURE__ */ new Float32Array(256)).fill(this.store.theme.peek() === "dark" ? .75 : .5)
		};
	}
	clear(e) {
		e.setTransform(this.ratio, 0, 0, this.ratio, 0, 0), e.clearRect(0, 0, this.frame.width, this.frame.height);
	}
	clipped(e, t) {
		e.save(), e.beginPath(), e.rect(V.left, V.top, this.frame.plotWidth, this.frame.plotHeight), e.clip(), t(), e.restore();
	}
	lines(e, t) {
		let { store: n, frame: r, theme: i } = this, a = n.log.peek(), o = n.threshold.peek(), s = [];
		nn(e, r, i, a), rn(e, r, i, this.hiddenWords()), this.histograms.draw(e, r, i, this.some), this.clipped(e, () => {
			let t = n.countAbove(o) / n.n, c = fn(e, r, i, a, o, t);
			this.handle = c.handle, c.box && s.push(c.box), c.handle && s.push([
				c.handle[0] - 10,
				c.handle[1] - 10,
				c.handle[0] + 10,
				c.handle[1] + 10
			]), s = cn(e, r, i, a, s), n.compare.peek() === "arrows" && this.k === 0 && this.arrows(e), fn(e, r, i, a, o, t), this.rings(e);
		}), n.compare.peek() === "side" && this.modelName(e), n.pins.peek() && (n.sheets ? this.drawPins(e, s, t) : this.names(e, s));
	}
	hiddenWords() {
		let { hidden: e, x: t, y: n } = this.positions, [, r, , i] = this.frame.domain, a = (e, t) => [e && `${R(e)} at zero not drawn`, t && `${R(t)} beyond the frame`].filter(Boolean).join(", ");
		return [a(e[0], this.above(t, r)), a(e[1], this.above(n, i))];
	}
	above(e, t) {
		if (this.quick) return 0;
		let n = 0;
		for (let r = 0; r < e.length; r++) this.state[r] && e[r] > t && n++;
		return n;
	}
	modelName(e) {
		tn(e, 12, 600), e.textAlign = "left", e.textBaseline = "top", dn(e, this.theme, this.store.models[this.k].name.slice(0, 60), V.left + 10, V.top + 8, this.theme.ink);
	}
	rings(e) {
		let t = this.store.selection.peek();
		if (!(!t.length || t.length > Qn || this.store.marks.peek() === "density")) {
			e.strokeStyle = this.theme.accent, e.lineWidth = 1;
			for (let n of t) rr(e, this.px(n), this.py(n), 4.5);
		}
	}
	arrows(e) {
		let { store: t, frame: n } = this, r = t.selection.peek(), i = r.length ? r.slice(0, $n) : t.orderBy("move", !0).slice(0, 60), [a, o] = t.log.peek(), s = t.models[1];
		e.strokeStyle = this.theme.accent, e.fillStyle = this.theme.accent, e.lineWidth = 1.2;
		for (let t of i) {
			let r = n.x(a ? Math.log10(s.leverage[t]) : s.leverage[t]), i = n.y(o ? Math.log10(s.error[t]) : s.error[t]);
			ar(e, this.px(t), this.py(t), r, i);
		}
	}
	*spots() {
		let e = Math.max(1, Math.floor(this.store.n / 3e4));
		for (let t = 0; t < this.store.n; t += e) this.state[t] && (yield [this.px(t), this.py(t)]);
	}
	*candidates() {
		let { order: e } = this.store.models[this.k];
		for (let t = e.length - 1; t >= Math.max(0, e.length - 600); t--) {
			let n = e[t];
			this.state[n] >= Yn && (this.store.sheets?.has(n) ?? !0) && (yield n);
		}
	}
	names(e, t) {
		let { frame: n, theme: r } = this;
		tn(e, 11);
		let i = (t) => e.measureText(this.store.table.id(t).slice(0, tr)).width, a = (e) => [this.px(e), this.py(e)];
		e.textAlign = "left", e.textBaseline = "middle";
		for (let { example: o, left: s, top: c } of Hn(n, this.candidates(), a, i, t, n.plotWidth < 420 ? 6 : 10)) dn(e, r, this.store.table.id(o).slice(0, tr), s, c + 15 / 2, r.ink);
	}
	drawPins(e, t, n) {
		let { frame: r, theme: i } = this;
		if (n || !this.pins.length) {
			let e = r.plotWidth < 420 ? 5 : 8, n = (e) => [this.px(e), this.py(e)];
			this.pins = Vn(r, this.candidates(), n, Gn(r, this.spots()), t, e);
		}
		for (let t of this.pins) e.strokeStyle = i.ink, e.lineWidth = 1, e.globalAlpha = .5, ir(e, t.x, t.y, t.left + 16, t.top + 16), e.globalAlpha = 1;
		for (let t of this.pins) e.fillStyle = i.paper, e.strokeStyle = this.store.wrong(t.example) ? i.wrong : i.muted, e.lineWidth = 1.5, e.beginPath(), e.roundRect(t.left - 2, t.top - 2, 36, 36, 4), e.fill(), e.stroke(), e.drawImage(this.tile(t.example), t.left, t.top, 32, 32);
	}
	tile(e) {
		let t = this.tiles.get(e);
		return t || (t = document.createElement("canvas"), t.width = t.height = 64, this.tiles.set(e, t), this.store.sheets.draw(e, t.getContext("2d"), 64).then(() => this.changed("axes"))), t;
	}
	marks(e) {
		let { store: t, theme: n } = this;
		this.clipped(e, () => {
			for (let n of t.selection.peek().slice(0, 24)) this.trail(e, n, .5);
			for (let [n, r] of [[t.focus.peek(), 2.2], [t.hover.peek(), 1.6]]) n < 0 || !this.frame.inside(this.px(n), this.py(n)) || (this.trail(e, n, 1), this.mark(e, n, r));
			this.lasso.length > 1 && or(e, n, this.lasso);
		});
	}
	mark(e, t, n) {
		let [r, i] = [this.px(t), this.py(t)];
		e.strokeStyle = this.theme.paper, e.lineWidth = n + 2.5, rr(e, r, i, 7), e.strokeStyle = this.theme.ink, e.lineWidth = n, rr(e, r, i, 7), e.globalAlpha = .4, e.lineWidth = 1, e.setLineDash([2, 3]), ir(e, r, i + 8, r, this.frame.bottom), ir(e, r - 8, i, V.left, i), e.setLineDash([]), e.globalAlpha = 1;
	}
	trail(e, t, n) {
		let { trajectory: r, log: i } = this.store;
		if (!r || this.k > 0) return;
		let [a, o] = i.peek(), s = (e) => {
			let [n, i] = r.at(e, t);
			return [this.frame.x(a ? n : 10 ** n), this.frame.y(o ? i : 10 ** i)];
		};
		e.strokeStyle = n === 1 ? this.theme.ink : this.theme.accent, e.lineWidth = 1.3;
		for (let t = 0; t < r.steps - 1; t++) e.globalAlpha = n * (.15 + .75 * (t + 1) / r.steps), ir(e, ...s(t), ...s(t + 1)), rr(e, ...s(t), 1.3);
		e.globalAlpha = 1;
	}
};
function rr(e, t, n, r) {
	e.beginPath(), e.arc(t, n, r, 0, 2 * Math.PI), e.stroke();
}
function ir(e, t, n, r, i) {
	e.beginPath(), e.moveTo(t, n), e.lineTo(r, i), e.stroke();
}
function ar(e, t, n, r, i) {
	let a = Math.atan2(i - n, r - t);
	e.globalAlpha = .65, ir(e, t, n, r, i), e.beginPath(), e.moveTo(r, i);
	for (let t of [2.7, -2.7]) e.lineTo(r + 7 * Math.cos(a + t), i + 7 * Math.sin(a + t));
	e.fill(), e.globalAlpha = 1;
}
function or(e, t, n) {
	e.beginPath();
	for (let [t, r] of n) e.lineTo(t, r);
	e.closePath(), e.fillStyle = t.accent, e.globalAlpha = .1, e.fill(), e.globalAlpha = 1, e.strokeStyle = t.accent, e.lineWidth = 1.25, e.stroke();
}
// src/state/take.ts
var sr = (e) => Array.from(e.listed.value, (t) => e.table.id(t)), cr = (e) => sr(e).map((t) => e.meta.integers ? t : JSON.stringify(t)), lr = (e) => `{"format": "memorymaps-selection", "ids": [${cr(e).join(", ")}]}\n`, ur = (e) => `m.select([${cr(e).join(", ")}])`;
function dr(e) {
	let t = ["id", ...e.meta.columns.map((e) => e.name).filter((e) => e !== "slot")], n = Array.from(e.listed.value, (n) => t.map((t) => fr(e, t, n)).join(","));
	return `${[t.map(pr).join(","), ...n].join("\n")}\n`;
}
function fr(e, t, n) {
	if (t === "id") return e.meta.integers ? e.table.id(n) : pr(e.table.id(n));
	let r = e.table.cell(t, n, String);
	return e.table.about(t).kind === "number" ? r : pr(r);
}
function pr(e) {
	let t = /^[=+\-@\t\r]/.test(e) ? `'${e}` : e;
	return /[",\n\r]/.test(t) ? `"${t.replace(/"/g, "\"\"")}"` : t;
}
function mr(e, t) {
	let n = document.createElement("a");
	n.href = URL.createObjectURL(t), n.download = e, n.click(), setTimeout(() => URL.revokeObjectURL(n.href), 5e3);
}
async function hr(e, t, n) {
	try {
		await navigator.clipboard.writeText(t);
	} catch {
		gr(t);
	}
	e.said.value = `${n} copied`;
}
function gr(e) {
	let t = document.createElement("textarea");
	t.value = e, document.body.append(t), t.select(), document.execCommand("copy"), t.remove();
}
// node_modules/preact/jsx-runtime/dist/jsxRuntime.mjs
var _r = Symbol.for("pv"), vr = 0;
Array.isArray;
function U(t, n, r, i, a, o) {
	n ||= {};
	var s, c, l = n;
	if ("ref" in l && typeof t != "function") for (c in l = {}, n) c == "ref" ? s = n[c] : l[c] = n[c];
	var u = {
		type: t,
		props: l,
		key: r,
		ref: s,
		__k: null,
		__: null,
		__b: 0,
		__e: null,
		__c: null,
		constructor: _r,
		__v: --vr,
		__i: -1,
		__u: 0
	};
	return (a || o) && (u.__source = a, u.__self = o), e.vnode && e.vnode(u), u;
}
// src/panels/parts.tsx
function yr({ label: e, value: t, set: n, options: r }) {
	return /* @__PURE__ */ U("fieldset", {
		class: "mm-seg",
		"aria-label": e,
		children: r.map(([e, r, i]) => /* @__PURE__ */ U("button", {
			type: "button",
			title: i,
			"aria-pressed": e === t,
			class: e === t ? "on" : "",
			onClick: () => n(e),
			children: r
		}, e))
	});
}
function br({ store: e, i: t, size: n }) {
	let r = ke(null), i = Math.round(n * Math.min(2, devicePixelRatio || 1)), a = e.sheets?.has(t) ?? !1;
	if (Oe(() => {
		let n = !0, o = r.current?.getContext("2d");
		return o?.clearRect(0, 0, i, i), o && a && e.sheets.draw(t, o, i, () => n), () => {
			n = !1;
		};
	}, [
		t,
		i,
		a
	]), !e.sheets) return null;
	let o = `width:${n}px;height:${n}px`;
	return a ? /* @__PURE__ */ U("canvas", {
		ref: r,
		class: "mm-pic",
		width: i,
		height: i,
		style: o
	}) : /* @__PURE__ */ U("span", {
		class: "mm-nopic",
		style: o,
		title: "no picture of this example in this file",
		children: "–"
	});
}
function xr({ store: e, i: t, size: n }) {
	let r = e.wrong(t), i = e.describe(t);
	return /* @__PURE__ */ U("button", {
		type: "button",
		class: `mm-tile${r ? " wrong" : ""}`,
		"data-example": t,
		title: i,
		"aria-label": i,
		onMouseEnter: () => e.hover.value = t,
		onMouseLeave: () => e.hover.value = -1,
		onFocus: () => e.hover.value = t,
		onClick: () => e.focus.value = t,
		children: [/* @__PURE__ */ U(br, {
			store: e,
			i: t,
			size: n
		}), r && /* @__PURE__ */ U("span", {
			class: "mm-badge",
			children: e.cell("prediction", t)
		})]
	});
}
function Sr({ width: e, height: t, label: n, draw: r, deps: i, onDrag: a, fluid: o }) {
	let s = ke(null);
	Oe(() => {
		let n = Math.min(2, devicePixelRatio || 1), i = s.current;
		i.width = e * n, i.height = t * n;
		let a = i.getContext("2d");
		a.setTransform(n, 0, 0, n, 0, 0), r(a);
	}, i);
	let c = (e) => {
		e.buttons && a?.(e.offsetX);
	};
	return /* @__PURE__ */ U("canvas", {
		ref: s,
		role: "img",
		"aria-label": n,
		style: o ? `width:100%;height:${t}px` : `width:${e}px;height:${t}px`,
		class: a ? "mm-drag" : "",
		onPointerDown: c,
		onPointerMove: c
	});
}
// src/panels/card.tsx
function Cr(e, t) {
	let [n, r] = Ee("");
	return Oe(() => {
		let n = !0;
		return r(""), t >= 0 && e.texts?.get(t).then((e) => n && r(e)), () => {
			n = !1;
		};
	}, [t]), n;
}
function wr({ store: e, view: t }) {
	let n = e.hover.value, r = Cr(e, n);
	if (n < 0 || !t || !t.frame.inside(t.px(n), t.py(n))) return null;
	let [i, a] = [t.px(n), t.py(n)], o = i + 320 > t.frame.width ? i - 300 : i + 20, s = Math.max(8, Math.min(t.frame.height - 190, a - 60));
	return /* @__PURE__ */ U("div", {
		class: "mm-card",
		style: `left:${Math.max(4, o)}px;top:${s}px`,
		children: [/* @__PURE__ */ U(br, {
			store: e,
			i: n,
			size: 84
		}), /* @__PURE__ */ U("div", {
			class: "mm-card-body",
			children: [
				/* @__PURE__ */ U(Tr, {
					store: e,
					i: n
				}),
				r && /* @__PURE__ */ U("p", {
					class: "mm-text",
					dir: "auto",
					children: r.slice(0, 180)
				}),
				/* @__PURE__ */ U(Dr, {
					store: e,
					i: n,
					names: [
						"leverage",
						"error",
						"sensitivity"
					]
				})
			]
		})]
	});
}
function Tr({ store: e, i: t }) {
	let n = e.rank[t] + 1;
	return /* @__PURE__ */ U(x, { children: [
		/* @__PURE__ */ U("div", {
			class: "mm-card-id",
			dir: "auto",
			children: e.table.id(t)
		}),
		/* @__PURE__ */ U("div", {
			class: "mm-rank",
			children: `${R(n)} of ${R(e.n)} by sensitivity · top ${z(n / e.n)}`
		}),
		/* @__PURE__ */ U(Er, {
			store: e,
			i: t
		})
	] });
}
function Er({ store: e, i: t }) {
	let [n, r, i] = [
		"target",
		"prediction",
		"loo_prediction"
	].map((n) => e.cell(n, t)), a = e.wrong(t);
	return e.meta.classification ? /* @__PURE__ */ U("div", {
		class: a ? "mm-bad" : "mm-ok",
		dir: "auto",
		children: [
			a ? "✗ " : "✓ ",
			n,
			a && ` → ${r}`,
			i !== r && i !== "–" && /* @__PURE__ */ U("div", {
				class: "mm-flip",
				title: "the prediction if this example were left out of training",
				children: [
					"left out: ",
					/* @__PURE__ */ U("s", { children: r }),
					" ",
					i
				]
			})
		]
	}) : /* @__PURE__ */ U("div", { children: `observed ${n}, predicted ${r}` });
}
function Dr({ store: e, i: t, names: n }) {
	return /* @__PURE__ */ U("dl", { children: n.map((n) => {
		let { unit: r, words: i } = e.table.about(n);
		return [/* @__PURE__ */ U("dt", {
			title: i,
			dir: "auto",
			children: n.replaceAll("_", " ")
		}, `t${n}`), /* @__PURE__ */ U("dd", {
			title: r,
			dir: "auto",
			children: e.cell(n, t)
		}, `d${n}`)];
	}) });
}
function Or({ store: e }) {
	let t = e.focus.value, n = Cr(e, t);
	if (t < 0) return null;
	let r = e.meta.columns.map((e) => e.name).filter((e) => !kr.has(e) && !e.includes("@")), i = e.warningsOf(t);
	return /* @__PURE__ */ U("section", {
		class: "mm-focus",
		"aria-label": "Example in focus",
		children: [
			/* @__PURE__ */ U("button", {
				type: "button",
				class: "mm-close",
				"aria-label": "Close the card",
				onClick: () => e.focus.value = -1,
				children: "×"
			}),
			/* @__PURE__ */ U("div", {
				class: "mm-focus-top",
				children: [/* @__PURE__ */ U(br, {
					store: e,
					i: t,
					size: 112
				}), /* @__PURE__ */ U("div", {
					class: "mm-card-body",
					children: /* @__PURE__ */ U(Tr, {
						store: e,
						i: t
					})
				})]
			}),
			n && /* @__PURE__ */ U("p", {
				class: "mm-text full",
				dir: "auto",
				children: n
			}),
			/* @__PURE__ */ U("p", {
				class: i.length ? "mm-light warn" : "mm-light",
				children: i.length ? `◯ ${i.join("; ")}` : "● no warning: sizes can be read as they are"
			}),
			/* @__PURE__ */ U(Dr, {
				store: e,
				i: t,
				names: r
			})
		]
	});
}
var kr = /* @__PURE__ */ new Set([
	"target",
	"prediction",
	"loo_prediction",
	"warning",
	"slot"
]), [Ar, jr, Mr, Nr] = [
	380,
	220,
	44,
	32
];
function Pr({ store: e }) {
	let { n: t, share: n } = e, r = e.countAbove(e.threshold.value), i = Math.log10(1 / t), a = (e) => Mr + ((Math.log10(Math.max(e, 1 / t)) - i) / -i || 0) * (Ar - Mr - 12), o = (e) => 10 + (1 - e) * (jr - Nr - 10), s = (s) => {
		let c = B[e.theme.value];
		s.font = "11px system-ui, sans-serif", Fr(s, c.muted, i, a, o), s.beginPath();
		for (let e = 0; e <= 240; e++) {
			let r = 10 ** (i * (1 - e / 240));
			s.lineTo(a(r), o(n[Math.min(t, Math.round(r * t))]));
		}
		s.strokeStyle = c.ink, s.lineWidth = 2, s.stroke(), s.strokeStyle = s.fillStyle = c.accent, s.lineWidth = 1, s.setLineDash([3, 3]), s.beginPath(), s.moveTo(a(r / t), o(0)), s.lineTo(a(r / t), o(n[r])), s.lineTo(Mr, o(n[r])), s.stroke(), s.setLineDash([]), s.beginPath(), s.arc(a(r / t), o(n[r]), 5, 0, 7), s.fill();
	}, c = (n) => {
		let r = 10 ** (i * (1 - Math.max(0, Math.min(1, (n - Mr) / (Ar - Mr - 12)))));
		e.threshold.value = e.productOfTop(Math.max(1, Math.round(r * t)));
	}, l = n.findIndex((e) => e >= .5);
	return /* @__PURE__ */ U("div", {
		class: "mm-col",
		tabIndex: 0,
		role: "region",
		"aria-label": "Panel",
		children: [
			/* @__PURE__ */ U("p", {
				class: "mm-lead",
				children: [
					/* @__PURE__ */ U("b", { children: z(n[r]) }),
					" of the sensitivity is in ",
					/* @__PURE__ */ U("b", { children: z(r / t) }),
					" of the examples",
					" ",
					/* @__PURE__ */ U("span", { children: [
						"(",
						R(r),
						")"
					] })
				]
			}),
			/* @__PURE__ */ U(Sr, {
				width: Ar,
				height: jr,
				label: `Share of the sensitivity in the most sensitive examples; half of it in ${z(l / t)}`,
				draw: s,
				deps: [r, e.theme.value],
				onDrag: c
			}),
			/* @__PURE__ */ U("p", {
				class: "mm-note",
				children: `Half of it is in ${z(l / t)} (${R(l)} examples). Drag here, or drag the line on the map.`
			}),
			/* @__PURE__ */ U("button", {
				type: "button",
				class: "mm-big",
				onClick: () => e.selectTop(r),
				children: `Select the ${R(r)} most sensitive`
			})
		]
	});
}
function Fr(e, t, n, r, i) {
	e.fillStyle = e.strokeStyle = t, e.textAlign = "right", e.textBaseline = "middle";
	for (let t of [
		0,
		.25,
		.5,
		.75,
		1
	]) e.globalAlpha = .2, e.beginPath(), e.moveTo(Mr, i(t)), e.lineTo(Ar - 12, i(t)), e.stroke(), e.globalAlpha = 1, e.fillText(z(t), Mr - 6, i(t));
	e.textAlign = "center", e.textBaseline = "top";
	for (let t = Math.ceil(n); t <= 0; t++) e.fillText(z(10 ** t), Math.min(Ar - 20, r(10 ** t)), jr - Nr + 8);
}
// src/panels/examples.tsx
var Ir = 30, Lr = 8e6;
function Rr({ store: e }) {
	let t = e.listed.value;
	return /* @__PURE__ */ U("div", {
		class: "mm-col",
		tabIndex: 0,
		role: "region",
		"aria-label": "Panel",
		children: [
			/* @__PURE__ */ U(Or, { store: e }),
			/* @__PURE__ */ U(Br, {
				store: e,
				listed: t
			}),
			/* @__PURE__ */ U(Vr, { store: e }),
			t.length === 0 ? /* @__PURE__ */ U(zr, { store: e }) : /* @__PURE__ */ U(Hr, {
				store: e,
				listed: t
			}),
			t.length > 0 && /* @__PURE__ */ U(Wr, {
				store: e,
				listed: t
			})
		]
	});
}
function zr({ store: e }) {
	return /* @__PURE__ */ U("div", {
		class: "mm-empty",
		children: [/* @__PURE__ */ U("p", { children: "No example matches the filters." }), /* @__PURE__ */ U("button", {
			type: "button",
			onClick: () => {
				e.clear(), e.seek(""), e.filters.value = {
					...e.filters.peek(),
					classes: [],
					predicted: -1,
					correct: "all",
					flips: !1,
					warned: !1,
					undrawn: !1,
					where: null
				};
			},
			children: ["Show all ", R(e.n)]
		})]
	});
}
function Br({ store: e, listed: t }) {
	let { sensitivity: n } = e.models[0], [r, i, a] = [
		0,
		0,
		0
	];
	for (let e of n) Number.isFinite(e) && (i += e);
	for (let i of t) Number.isFinite(n[i]) && (r += n[i]), e.wrong(i) && a++;
	return /* @__PURE__ */ U("div", {
		class: "mm-kpi",
		children: [
			/* @__PURE__ */ U("div", { children: [/* @__PURE__ */ U("b", { children: R(t.length) }), /* @__PURE__ */ U("span", { children: e.selection.value.length ? "selected" : "shown" })] }),
			/* @__PURE__ */ U("div", { children: [/* @__PURE__ */ U("b", { children: z(i > 0 ? r / i : 0) }), /* @__PURE__ */ U("span", { children: "of all sensitivity" })] }),
			e.meta.classification && /* @__PURE__ */ U("div", { children: [/* @__PURE__ */ U("b", { children: z(t.length ? a / t.length : 0) }), /* @__PURE__ */ U("span", { children: "misclassified" })] })
		]
	});
}
function Vr({ store: e }) {
	let t = e.selection.value.length > 0, n = (e, t, n) => mr(e, new Blob([t], { type: n }));
	return /* @__PURE__ */ U("div", {
		class: "mm-act",
		children: [
			/* @__PURE__ */ U("span", {
				class: "mm-src",
				children: t ? e.origin.value : "nothing selected"
			}),
			/* @__PURE__ */ U("button", {
				type: "button",
				title: "copy the ids, one per line",
				onClick: () => hr(e, sr(e).join("\n"), "ids"),
				children: "ids"
			}),
			/* @__PURE__ */ U("button", {
				type: "button",
				title: "copy Python code that selects these examples",
				onClick: () => hr(e, ur(e), "Python"),
				children: "Python"
			}),
			/* @__PURE__ */ U("button", {
				type: "button",
				onClick: () => n("selection.csv", dr(e), "text/csv"),
				children: "CSV"
			}),
			/* @__PURE__ */ U("button", {
				type: "button",
				onClick: () => n("selection.json", lr(e), "application/json"),
				children: "JSON"
			}),
			t && /* @__PURE__ */ U("button", {
				type: "button",
				onClick: () => e.clear(),
				children: "clear"
			})
		]
	});
}
function Hr({ store: e, listed: t }) {
	let [n, r] = Ee(28);
	return e.sheets ? /* @__PURE__ */ U("div", {
		class: "mm-gallery",
		children: [Array.from(t.slice(0, n), (t) => /* @__PURE__ */ U(xr, {
			store: e,
			i: t,
			size: 49
		}, t)), t.length > n && /* @__PURE__ */ U("button", {
			type: "button",
			class: "mm-more",
			onClick: () => r(n + 56),
			children: ["+", R(Math.min(56, t.length - n))]
		})]
	}) : null;
}
var Ur = [
	"target",
	"prediction",
	"leverage",
	"error",
	"sensitivity"
];
function Wr({ store: e, listed: t }) {
	let [n, r] = Ee(0), i = Math.min(t.length * Ir, Lr), a = Math.max(0, Math.floor(n / i * t.length) - 3), o = a / t.length * i;
	return /* @__PURE__ */ U("div", {
		class: `mm-tablebox${e.sheets ? "" : " plain"}${e.meta.classification ? "" : " numeric"}`,
		children: /* @__PURE__ */ U("div", {
			class: "mm-scroll",
			tabIndex: 0,
			role: "region",
			"aria-label": "Rows of the table",
			onScroll: (e) => r(e.currentTarget.scrollTop),
			children: [/* @__PURE__ */ U(Gr, { store: e }), /* @__PURE__ */ U("div", {
				style: `height:${i}px;position:relative`,
				children: Array.from(t.slice(a, a + 30), (t, n) => /* @__PURE__ */ U(qr, {
					store: e,
					i: t,
					top: o + n * Ir
				}, t))
			})]
		})
	});
}
function Gr({ store: e }) {
	let { key: t, down: n } = e.sort.value, r = (r) => e.sort.value = {
		key: r,
		down: r !== t || !n
	};
	return /* @__PURE__ */ U("div", {
		class: "mm-row mm-head",
		children: [/* @__PURE__ */ U("span", {}), ["id", ...Ur].map((i) => /* @__PURE__ */ U("button", {
			type: "button",
			"data-sort": i,
			class: `${i === t ? "on " : ""}${Kr(e, i) ? "num" : ""}`,
			title: e.table.about(i).words,
			onClick: () => r(i),
			children: [i === "prediction" ? "predicted" : i.replaceAll("_", " "), i === t && (n ? "↓" : "↑")]
		}, i))]
	});
}
var Kr = (e, t) => t !== "id" && e.table.about(t).kind === "number";
function qr({ store: e, i: t, top: n }) {
	let r = `top:${n}px`;
	return /* @__PURE__ */ U("button", {
		type: "button",
		class: `mm-row mm-line${e.focus.value === t ? " on" : ""}`,
		"data-example": t,
		style: r,
		title: e.describe(t),
		onMouseEnter: () => e.hover.value = t,
		onMouseLeave: () => e.hover.value = -1,
		onClick: () => e.focus.value = t,
		children: [
			/* @__PURE__ */ U(br, {
				store: e,
				i: t,
				size: 24
			}),
			!e.sheets && /* @__PURE__ */ U("span", {}),
			["id", ...Ur].map((n) => /* @__PURE__ */ U("span", {
				dir: "auto",
				class: `${Kr(e, n) ? "num" : ""}${n === "prediction" && e.wrong(t) ? " mm-bad" : ""}`,
				children: e.cell(n, t)
			}, n))
		]
	});
}
// src/state/filters.ts
var Jr = {
	classes: [],
	predicted: -1,
	correct: "all",
	flips: !1,
	warned: !1,
	undrawn: !1,
	where: null,
	search: ""
}, Yr = (e) => JSON.stringify(e) === JSON.stringify(Jr);
function Xr(e, t, n, r) {
	let i = Zr(e, t, n);
	r && i.push((e) => r[e] === 1);
	let a = new Uint8Array(e.n);
	for (let t = 0; t < e.n; t++) a[t] = +!!i.every((e) => e(t));
	return a;
}
function Zr(e, t, n) {
	let r = [];
	if (e.meta.classification && r.push(...Qr(e, n)), n.warned) {
		let t = e.numbers("warning");
		r.push((e) => t[e] > 0);
	}
	if (n.undrawn && r.push((e) => t[e] === 0), n.where && e.has(n.where.column)) {
		let { column: t, code: i } = n.where, a = e.codes(t);
		r.push((e) => a[e] === i);
	}
	return r;
}
function Qr(e, t) {
	let n = e.codes("target"), r = e.codes("prediction"), i = [];
	if (t.classes.length) {
		let e = new Set(t.classes);
		i.push((t) => e.has(n[t]));
	}
	if (t.predicted >= 0 && i.push((e) => r[e] === t.predicted), t.correct !== "all" && i.push((e) => n[e] === r[e] == (t.correct === "right")), t.flips) {
		let t = e.codes("loo_prediction");
		i.push((e) => t[e] !== 65535 && t[e] !== r[e]);
	}
	return i;
}
function $r(e, t, n) {
	if (!t) return null;
	let r = new Uint8Array(e.n);
	if (t.startsWith("=")) {
		let n = t.slice(1);
		for (let t = 0; t < e.n; t++) e.id(t) === n && (r[t] = 1);
		return r;
	}
	let i = t.toLowerCase(), a = e.ofKind("text").map((e) => e.name), o = (e) => e.toLowerCase().includes(i);
	for (let t = 0; t < e.n; t++) (o(e.id(t)) || n !== null && o(n[t]) || a.some((n) => o(e.cell(n, t, String)))) && (r[t] = 1);
	return r;
}
// src/panels/filters.tsx
var ei = 12;
function ti({ store: e }) {
	let t = e.filters.value, n = (t) => e.filters.value = {
		...e.filters.peek(),
		...t
	}, r = e.meta.columns.some((e) => e.name === "warning") && e.table.numbers("warning").some((e) => e > 0);
	return /* @__PURE__ */ U("div", {
		class: "mm-bar",
		children: [
			e.meta.classification && /* @__PURE__ */ U(ri, {
				store: e,
				filters: t,
				set: n
			}),
			r && /* @__PURE__ */ U(ni, {
				on: t.warned,
				words: "warnings",
				hint: "examples whose scores carry a warning",
				click: () => n({ warned: !t.warned })
			}),
			e.undrawn > 0 && /* @__PURE__ */ U(ni, {
				on: t.undrawn,
				words: `not drawn (${R(e.undrawn)})`,
				hint: "examples without finite coordinates: listed in the table, not on the map",
				click: () => n({ undrawn: !t.undrawn })
			}),
			/* @__PURE__ */ U(ai, {
				store: e,
				filters: t,
				set: n
			}),
			!Yr(t) && /* @__PURE__ */ U("button", {
				type: "button",
				onClick: () => {
					e.seek(""), e.filters.value = Jr;
				},
				children: "show all"
			}),
			/* @__PURE__ */ U("span", {
				class: "mm-count",
				"data-count": e.count.value,
				children: `${R(e.count.value)} of ${R(e.n)}`
			})
		]
	});
}
function ni({ on: e, words: t, hint: n, click: r }) {
	return /* @__PURE__ */ U("button", {
		type: "button",
		class: e ? "on" : "",
		"aria-pressed": e,
		title: n,
		onClick: r,
		children: t
	});
}
function ri({ store: e, filters: t, set: n }) {
	let r = e.table.about("target").names;
	return /* @__PURE__ */ U(x, { children: [
		r.length <= ei ? /* @__PURE__ */ U(ii, {
			store: e,
			names: r,
			filters: t,
			set: n
		}) : /* @__PURE__ */ U("select", {
			"aria-label": "Class",
			value: t.classes[0] ?? -1,
			onChange: (e) => {
				let t = Number(e.currentTarget.value);
				n({ classes: t < 0 ? [] : [t] });
			},
			children: [/* @__PURE__ */ U("option", {
				value: -1,
				children: `class: any of ${R(r.length)}`
			}), r.map((e, t) => /* @__PURE__ */ U("option", {
				value: t,
				children: e.slice(0, 80)
			}, t))]
		}),
		/* @__PURE__ */ U("select", {
			"aria-label": "Predicted class",
			value: t.predicted,
			onChange: (e) => n({ predicted: Number(e.currentTarget.value) }),
			children: [/* @__PURE__ */ U("option", {
				value: -1,
				children: "predicted: any"
			}), e.table.about("prediction").names.map((e, t) => /* @__PURE__ */ U("option", {
				value: t,
				children: `predicted: ${e.slice(0, 80)}`
			}, t))]
		}),
		/* @__PURE__ */ U(yr, {
			label: "Correctness",
			value: t.correct,
			set: (e) => n({ correct: e }),
			options: [
				["all", "all"],
				["right", "correct"],
				["wrong", "wrong"]
			]
		}),
		/* @__PURE__ */ U(ni, {
			on: t.flips,
			words: "flips when left out",
			hint: "the predicted class changes if the example is left out of training",
			click: () => n({ flips: !t.flips })
		})
	] });
}
function ii({ store: e, names: t, filters: n, set: r }) {
	let i = (e) => !n.classes.length || n.classes.includes(e), a = (e, t) => {
		let { classes: i } = n;
		if (t) return r({ classes: i.includes(e) ? i.filter((t) => t !== e) : [...i, e] });
		r({ classes: i.length === 1 && i[0] === e ? [] : [e] });
	};
	return /* @__PURE__ */ U("fieldset", {
		class: "mm-chips",
		"aria-label": "Filter by class",
		children: t.map((t, n) => /* @__PURE__ */ U("button", {
			type: "button",
			class: `mm-chip${i(n) ? " on" : ""}`,
			"aria-pressed": i(n),
			title: `${t.slice(0, 200)}: click for this class only, Shift-click to add`,
			onMouseEnter: () => e.focusClass.value = n,
			onMouseLeave: () => e.focusClass.value = -1,
			onClick: (e) => a(n, e.shiftKey),
			children: [/* @__PURE__ */ U("i", { style: `background:${e.color.value === "target" ? Ut(e.theme.value, n) : "var(--muted)"}` }), /* @__PURE__ */ U("span", {
				dir: "auto",
				children: t || "(empty)"
			})]
		}, n))
	});
}
function ai({ store: e, filters: t, set: n }) {
	let r = e.table.ofKind("class").filter((e) => ![
		"target",
		"prediction",
		"loo_prediction"
	].includes(e.name) && !e.name.includes("@"));
	if (!r.length) return null;
	let i = t.where ? `${t.where.code} ${t.where.column}` : "", a = (e) => {
		let t = e.indexOf(" ");
		n({ where: e ? {
			column: e.slice(t + 1),
			code: Number(e.slice(0, t))
		} : null });
	};
	return /* @__PURE__ */ U("select", {
		"aria-label": "Filter by a column",
		value: i,
		onChange: (e) => a(e.currentTarget.value),
		children: [/* @__PURE__ */ U("option", {
			value: "",
			children: "column: any"
		}), r.map((e) => /* @__PURE__ */ U("optgroup", {
			label: e.name.slice(0, 80),
			children: e.names.slice(0, 1e3).map((t, n) => /* @__PURE__ */ U("option", {
				value: `${n} ${e.name}`,
				children: `${e.name.slice(0, 40)}: ${t.slice(0, 80)}`
			}, n))
		}, e.name))]
	});
}
// src/panels/groups.tsx
function oi({ store: e }) {
	return /* @__PURE__ */ U("div", {
		class: "mm-col",
		tabIndex: 0,
		role: "region",
		"aria-label": "Panel",
		children: e.meta.groups.map((t) => /* @__PURE__ */ U(si, {
			store: e,
			groups: t
		}, t.title))
	});
}
function si({ store: e, groups: t }) {
	let [n, r] = Ee(null), i = n ? ui(t.rows, n.column, n.down) : t.rows, a = (e) => r({
		column: e,
		down: n?.column !== e || !n.down
	});
	return /* @__PURE__ */ U(x, { children: [
		/* @__PURE__ */ U("h2", { children: t.title }),
		/* @__PURE__ */ U("p", {
			class: "mm-note",
			children: t.note
		}),
		/* @__PURE__ */ U("div", {
			class: "mm-groups",
			children: /* @__PURE__ */ U("table", { children: [/* @__PURE__ */ U("thead", { children: /* @__PURE__ */ U("tr", { children: [/* @__PURE__ */ U("th", { scope: "col" }), t.columns.map(({ name: e, unit: t, words: r }, i) => /* @__PURE__ */ U("th", {
				scope: "col",
				"aria-sort": i === n?.column ? n.down ? "descending" : "ascending" : "none",
				children: /* @__PURE__ */ U("button", {
					type: "button",
					title: t ? `${r} [${t}]` : r,
					onClick: () => a(i),
					children: [e, i === n?.column && (n.down ? " ↓" : " ↑")]
				})
			}, e))] }) }), /* @__PURE__ */ U("tbody", { children: i.map((n) => /* @__PURE__ */ U("tr", { children: [/* @__PURE__ */ U("th", {
				scope: "row",
				children: /* @__PURE__ */ U(ci, {
					store: e,
					groups: t,
					name: n.name
				})
			}), n.values.map((e, n) => /* @__PURE__ */ U("td", { children: di(e, t.columns[n].unit) }, n))] }, n.name)) })] })
		})
	] });
}
function ci({ store: e, groups: t, name: n }) {
	let r = /* @__PURE__ */ U("span", {
		dir: "auto",
		children: n || "(empty)"
	}), i = t.by === "target" && e.meta.classification ? li(e, n) : -1;
	if (i < 0) return r;
	let { classes: a } = e.filters.value, o = a.length === 1 && a[0] === i;
	return /* @__PURE__ */ U("button", {
		type: "button",
		class: o ? "on" : "",
		"aria-pressed": o,
		title: `${n.slice(0, 200)}: show this class only`,
		onClick: () => e.filters.value = {
			...e.filters.peek(),
			classes: o ? [] : [i]
		},
		children: r
	});
}
var li = (e, t) => e.table.about("target").names.indexOf(t);
function ui(e, t, n) {
	let r = (e) => e.values[t] ?? -Infinity;
	return [...e].sort((e, t) => n ? r(t) - r(e) : r(e) - r(t));
}
function di(e, t) {
	return e === null ? "–" : t === "share" ? z(e) : t === "" ? R(e) : L(e);
}
// src/panels/rankings.tsx
var fi = 8, pi = (e) => e.replaceAll("_", " ");
function mi({ store: e, i: t, words: n }) {
	return /* @__PURE__ */ U("button", {
		type: "button",
		class: "mm-entry",
		"data-example": t,
		title: e.describe(t),
		onMouseEnter: () => e.hover.value = t,
		onMouseLeave: () => e.hover.value = -1,
		onClick: () => e.focus.value = t,
		children: [/* @__PURE__ */ U(br, {
			store: e,
			i: t,
			size: 32
		}), /* @__PURE__ */ U("span", { children: [/* @__PURE__ */ U("b", { children: n }), /* @__PURE__ */ U("small", {
			dir: "auto",
			children: e.table.id(t)
		})] })]
	});
}
function hi({ store: e }) {
	let { agreement: t } = e.meta, n = e.shown.value;
	return t ? /* @__PURE__ */ U("div", {
		class: "mm-col",
		tabIndex: 0,
		role: "region",
		"aria-label": "Panel",
		children: [
			/* @__PURE__ */ U("h2", { children: `Top ${fi} by each measure` }),
			/* @__PURE__ */ U("div", {
				class: "mm-rank-grid",
				children: t.measures.map((t) => /* @__PURE__ */ U("div", { children: [/* @__PURE__ */ U("h3", {
					title: e.table.about(t).words,
					children: pi(t)
				}), Array.from(e.orderBy(t, !0).filter((e) => n[e]).slice(0, fi), (n) => /* @__PURE__ */ U(mi, {
					store: e,
					i: n,
					words: e.cell(t, n)
				}, n))] }, t))
			}),
			/* @__PURE__ */ U("h2", { children: "Do the rankings agree?" }),
			/* @__PURE__ */ U("table", {
				class: "mm-matrix",
				children: [/* @__PURE__ */ U("thead", { children: /* @__PURE__ */ U("tr", { children: [/* @__PURE__ */ U("th", {}), t.measures.map((e) => /* @__PURE__ */ U("th", {
					scope: "col",
					children: pi(e)
				}, e))] }) }), /* @__PURE__ */ U("tbody", { children: t.measures.map((e, n) => /* @__PURE__ */ U("tr", { children: [/* @__PURE__ */ U("th", {
					scope: "row",
					children: pi(e)
				}), t.measures.map((e, r) => {
					if (n === r) return /* @__PURE__ */ U("td", {
						class: "same",
						children: "–"
					}, e);
					let i = n < r ? t.spearman[n][r] : t.overlap[n][r], a = i === null ? "–" : n < r ? i.toFixed(2) : z(i);
					return /* @__PURE__ */ U("td", {
						style: `--share:${Math.max(0, i ?? 0)}`,
						children: a
					}, e);
				})] }, e)) })]
			}),
			/* @__PURE__ */ U("p", {
				class: "mm-note",
				children: `Above the diagonal: Spearman's rank correlation. Below: examples in common among the top ${R(t.top)}.`
			}),
			t.disagreements.length > 0 && /* @__PURE__ */ U(gi, {
				store: e,
				agreement: t
			})
		]
	}) : null;
}
function gi({ store: e, agreement: t }) {
	let [n, r] = Ee(0), { measures: i, disagreements: a } = t, { pair: o, first: s, second: c } = a[n], [l, u] = o.map((e) => pi(i[e])), d = e.shown.value, f = [[`higher by ${l}`, s], [`higher by ${u}`, c]];
	return /* @__PURE__ */ U("section", {
		"aria-label": "Disagreements",
		children: [
			/* @__PURE__ */ U("h2", { children: "Where they disagree" }),
			/* @__PURE__ */ U("select", {
				"aria-label": "Two measures",
				value: n,
				onChange: (e) => r(Number(e.currentTarget.value)),
				children: a.map(({ pair: [e, t] }, n) => /* @__PURE__ */ U("option", {
					value: n,
					children: `${pi(i[e])} against ${pi(i[t])}`
				}, n))
			}),
			/* @__PURE__ */ U("div", {
				class: "mm-rank-grid",
				children: f.map(([t, n]) => /* @__PURE__ */ U("div", { children: [/* @__PURE__ */ U("h3", { children: t }), n.filter(([e]) => d[e]).slice(0, fi).map(([t, n, r]) => /* @__PURE__ */ U(mi, {
					store: e,
					i: t,
					words: `${_i(n)} · ${_i(r)}`
				}, t))] }, t))
			}),
			/* @__PURE__ */ U("p", {
				class: "mm-note",
				children: `Ranks by ${l} · by ${u}, 1 the largest. Listed are those whose ranks differ by the largest factor.`
			})
		]
	});
}
var _i = (e) => R(Math.round(e));
function vi({ store: e }) {
	let [t, n] = e.models, r = e.shown.value, i = e.orderBy("move", !0).filter((e) => r[e]).slice(0, 40);
	return /* @__PURE__ */ U("div", {
		class: "mm-col",
		tabIndex: 0,
		role: "region",
		"aria-label": "Panel",
		children: [
			/* @__PURE__ */ U("h2", { children: "Largest changes of sensitivity" }),
			/* @__PURE__ */ U("p", {
				class: "mm-note",
				dir: "auto",
				children: `${t.name} → ${n.name}, linked by id`
			}),
			/* @__PURE__ */ U("div", {
				class: "mm-movers",
				children: Array.from(i, (r) => /* @__PURE__ */ U(mi, {
					store: e,
					i: r,
					words: `${L(t.sensitivity[r])} → ${L(n.sensitivity[r])}`
				}, r))
			})
		]
	});
}
function yi({ store: e }) {
	return /* @__PURE__ */ U("div", {
		class: "mm-col mm-about",
		tabIndex: 0,
		role: "region",
		"aria-label": "Panel",
		children: [
			/* @__PURE__ */ U("h2", { children: "About this map" }),
			/* @__PURE__ */ U("ul", { children: e.meta.notes.map((e, t) => /* @__PURE__ */ U("li", {
				dir: "auto",
				children: e
			}, t)) }),
			/* @__PURE__ */ U("h2", { children: "Columns" }),
			/* @__PURE__ */ U("dl", { children: e.meta.columns.filter((e) => e.words).map((e) => [/* @__PURE__ */ U("dt", {
				dir: "auto",
				children: e.name
			}, `t${e.name}`), /* @__PURE__ */ U("dd", { children: [e.words, e.unit && ` [${e.unit}]`] }, `d${e.name}`)]) }),
			/* @__PURE__ */ U("h2", { children: "Keys" }),
			/* @__PURE__ */ U("p", {
				class: "mm-note",
				children: "Arrows move through the table, Shift and arrows pan the map, + − 0 zoom, v l b pan, lasso, box, Enter selects, Esc clears, / searches. Shift and drag draws a lasso, double click resets the view."
			})
		]
	});
}
// src/panels/time.tsx
var bi = 650, xi = [
	{
		name: "loss",
		words: "loss",
		hint: "mean loss on the training examples, nats",
		style: "solid"
	},
	{
		name: "loo_loss",
		words: "leave-one-out",
		hint: "mean leave-one-out loss, nats",
		style: "dashed"
	},
	{
		name: "test_loss",
		words: "test",
		hint: "mean loss on the test examples, nats",
		style: "dotted"
	}
];
function Si({ store: e }) {
	let { steps: t } = e.meta, n = t.length - 1;
	wi(e, n);
	let r = Math.round(e.time.value), i = t[r];
	return /* @__PURE__ */ U("div", {
		class: "mm-time",
		children: [
			/* @__PURE__ */ U("button", {
				type: "button",
				class: "mm-play",
				"aria-label": e.playing.value ? "Pause" : "Play the recorded steps",
				onClick: () => e.playing.value = !e.playing.value,
				children: e.playing.value ? "❚❚" : "▶"
			}),
			/* @__PURE__ */ U("div", {
				class: "mm-track",
				children: [
					/* @__PURE__ */ U(Ti, { store: e }),
					/* @__PURE__ */ U("input", {
						type: "range",
						min: 0,
						max: n,
						step: .02,
						value: e.time.value,
						"aria-label": "Recorded step",
						"aria-valuetext": i.name,
						onInput: (t) => {
							e.playing.value = !1, e.time.value = Number(t.currentTarget.value);
						}
					}),
					/* @__PURE__ */ U("div", {
						class: "mm-steps",
						children: t.map((e, t) => /* @__PURE__ */ U("span", {
							class: t === r ? "on" : "",
							style: `left:calc(8px + ${t / n} * (100% - 16px));translate:${t / n * -100}%`,
							dir: "auto",
							children: Ci(t, n) && e.name.slice(0, 24)
						}, t))
					})
				]
			}),
			/* @__PURE__ */ U("div", {
				class: "mm-when",
				children: [
					/* @__PURE__ */ U("b", {
						dir: "auto",
						children: i.name
					}),
					xi.filter(({ name: e }) => i[e] !== null).map(({ name: e, words: t, hint: n, style: r }) => /* @__PURE__ */ U("span", {
						class: r,
						title: n,
						children: `${t} ${L(i[e])}`
					}, e)),
					i.effective !== null && /* @__PURE__ */ U("span", {
						title: "effective number of parameters: sum of the leverages",
						children: `effective parameters ${L(i.effective)}`
					}),
					r < n && /* @__PURE__ */ U("span", {
						title: "table and cards show the scores of the last step",
						children: `table and cards: ${t[n].name.slice(0, 24)}`
					})
				]
			})
		]
	});
}
var Ci = (e, t) => {
	let n = Math.ceil((t + 1) / 8);
	return e === t || e % n === 0 && t - e >= n;
};
function wi(e, t) {
	let n = e.playing.value;
	Oe(() => {
		if (!n) return;
		e.time.peek() >= t && (e.time.value = 0);
		let [r, i] = [0, performance.now()], a = (n) => {
			e.time.value = Math.min(t, e.time.peek() + (n - i) / bi), i = n, e.time.peek() >= t ? e.playing.value = !1 : r = requestAnimationFrame(a);
		};
		return r = requestAnimationFrame(a), () => cancelAnimationFrame(r);
	}, [n]);
}
function Ti({ store: e }) {
	let { steps: t } = e.meta, [n, r] = [600, 30];
	return /* @__PURE__ */ U(Sr, {
		fluid: !0,
		width: n,
		height: r,
		label: "Mean training, leave-one-out and test loss over the recorded steps, with a line at the one shown",
		draw: (i) => {
			let a = B[e.theme.value], o = t.flatMap((e) => xi.map(({ name: t }) => e[t])).filter((e) => e !== null), [s, c] = [Math.min(...o), Math.max(...o)], l = (e) => r - 3 - (e - s) / (c - s || 1) * (r - 6), u = (e) => 8 + e / (t.length - 1) * (n - 16), d = (e, n, r) => {
				i.strokeStyle = n, i.lineWidth = 1.5, i.setLineDash(r), i.beginPath(), t.forEach((t, n) => {
					let r = t[e];
					r !== null && i.lineTo(u(n), l(r));
				}), i.stroke();
			};
			d("loss", a.wrong, []), d("loo_loss", a.accent, [4, 3]), d("test_loss", a.ink, [1.5, 2.5]), i.setLineDash([]), i.strokeStyle = a.muted, i.lineWidth = 1, i.beginPath(), i.moveTo(u(e.time.value), 0), i.lineTo(u(e.time.value), r), i.stroke();
		},
		deps: [e.theme.value, e.time.value]
	});
}
// src/panels/tools.tsx
function Ei({ store: e, picture: t }) {
	return /* @__PURE__ */ U("div", {
		class: "mm-tools",
		children: [
			/* @__PURE__ */ U(yr, {
				label: "Tool",
				value: e.tool.value,
				set: (t) => e.tool.value = t,
				options: [
					[
						"pan",
						"Pan",
						"v"
					],
					[
						"lasso",
						"Lasso",
						"l, or Shift and drag"
					],
					[
						"box",
						"Box",
						"b"
					]
				]
			}),
			/* @__PURE__ */ U("fieldset", {
				class: "mm-seg",
				"aria-label": "Logarithmic axes",
				children: ["x", "y"].map((t, n) => /* @__PURE__ */ U("button", {
					type: "button",
					class: e.log.value[n] ? "on" : "",
					"aria-pressed": e.log.value[n],
					onClick: () => e.toggleLog(n),
					children: ["log ", t]
				}, t))
			}),
			/* @__PURE__ */ U(yr, {
				label: "Marks",
				value: e.marks.value,
				set: (t) => e.marks.value = t,
				options: [["points", "points"], ["density", "density"]]
			}),
			/* @__PURE__ */ U("label", { children: [
				"colour",
				" ",
				/* @__PURE__ */ U("select", {
					"aria-label": "Colour",
					value: e.color.value,
					onChange: (t) => e.color.value = t.currentTarget.value,
					children: [
						e.meta.classification && /* @__PURE__ */ U("option", {
							value: "correct",
							children: "correct or wrong"
						}),
						vn(e).map((e) => /* @__PURE__ */ U("option", {
							value: e,
							children: gn[e]
						}, e)),
						e.meta.columns.filter((e) => e.kind !== "text" && e.name !== "slot" && !e.name.includes("@")).map((e) => /* @__PURE__ */ U("option", {
							value: e.name,
							children: e.name.slice(0, 60).replaceAll("_", " ")
						}, e.name))
					]
				})
			] }),
			/* @__PURE__ */ U("label", { children: [
				/* @__PURE__ */ U("input", {
					type: "checkbox",
					checked: e.pins.value,
					onChange: (t) => e.pins.value = t.currentTarget.checked
				}),
				" ",
				e.sheets ? "pin pictures" : "label outliers"
			] }),
			e.models.length > 1 && /* @__PURE__ */ U(yr, {
				label: "Compare",
				value: e.compare.value,
				set: (t) => e.compare.value = t,
				options: [
					["off", "one map"],
					["side", "side by side"],
					["arrows", "arrows"]
				]
			}),
			/* @__PURE__ */ U("fieldset", {
				class: "mm-seg",
				"aria-label": "Save the map as an image",
				children: [/* @__PURE__ */ U("button", {
					type: "button",
					title: "save the map as a PNG image",
					onClick: () => t("png"),
					children: "PNG"
				}), /* @__PURE__ */ U("button", {
					type: "button",
					title: "save the map as an SVG image (vector graphics)",
					onClick: () => t("svg"),
					children: "SVG"
				})]
			}),
			/* @__PURE__ */ U(Di, { store: e })
		]
	});
}
function Di({ store: e }) {
	let t = B[e.theme.value], n = e.color.value, r = e.marks.value === "density";
	if (!r && n === "correct") return /* @__PURE__ */ U("span", {
		class: "mm-legend",
		children: [
			/* @__PURE__ */ U("i", { style: `background:${t.right}` }),
			" correct ",
			/* @__PURE__ */ U("i", { style: `background:${t.wrong}` }),
			" wrong"
		]
	});
	if (!r && _n(n)) return /* @__PURE__ */ U(ki, {
		store: e,
		name: n
	});
	let { kind: i, names: a } = e.table.about(n);
	return !r && i === "class" ? /* @__PURE__ */ U("span", {
		class: "mm-legend",
		children: [a.slice(0, 10).map((t, n) => /* @__PURE__ */ U("span", {
			dir: "auto",
			children: [/* @__PURE__ */ U("i", { style: `background:${Ut(e.theme.value, n)}` }), t.slice(0, 14)]
		}, n)), a.length > 10 && "…"]
	}) : /* @__PURE__ */ U(Oi, {
		lut: r ? t.density : t.ramp,
		ends: r ? ["few", "many examples"] : [`${n.replaceAll("_", " ")} ${L(e.shade(n).low)}`, L(e.shade(n).high)]
	});
}
function Oi({ lut: e, ends: t, title: n }) {
	return /* @__PURE__ */ U("span", {
		class: "mm-legend",
		title: n,
		children: [
			t[0],
			" ",
			/* @__PURE__ */ U(Sr, {
				width: 120,
				height: 8,
				label: "colour scale",
				draw: (t) => {
					for (let n = 0; n < 120; n++) {
						let r = 3 * Math.round(n / 119 * 255);
						t.fillStyle = `rgb(${e[r]},${e[r + 1]},${e[r + 2]})`, t.fillRect(n, 0, 1.5, 8);
					}
				},
				deps: [e]
			}),
			" ",
			t[1]
		]
	});
}
function ki({ store: e, name: t }) {
	let n = L(10 ** xn(e, t, e.time.value));
	return /* @__PURE__ */ U(Oi, {
		lut: B[e.theme.value].diverging,
		ends: [`÷ ${n}`, `× ${n}`],
		title: `${gn[t]}; grey: unchanged`
	});
}
// src/panels/app.tsx
function Ai({ store: e, views: t }) {
	let n = ke(null), r = ke(null), i = (e) => {
		let r = e.target;
		if (/^(INPUT|SELECT|TEXTAREA)$/.test(r.tagName)) e.key === "Escape" && r.blur();
		else {
			if (e.key === "/") n.current?.focus();
			else if (r.tagName === "BUTTON" && (e.key === "Enter" || e.key === " ")) return;
			else if (!t[0] || !zt(t[0], e)) return;
			e.preventDefault();
		}
	};
	return Oe(() => {
		let t = e.source.permalinks ? document : r.current;
		return t.addEventListener("keydown", i), () => t.removeEventListener("keydown", i);
	}, []), /* @__PURE__ */ U("div", {
		class: `mm ${e.theme.value}`,
		ref: r,
		tabIndex: -1,
		children: [
			/* @__PURE__ */ U(ji, {
				store: e,
				field: n
			}),
			/* @__PURE__ */ U(ti, { store: e }),
			/* @__PURE__ */ U("main", { children: [/* @__PURE__ */ U("section", {
				class: "mm-left",
				"aria-label": "Memory map",
				children: [
					/* @__PURE__ */ U(Ei, {
						store: e,
						picture: (n) => void Ii(e, t, n)
					}),
					/* @__PURE__ */ U("div", {
						class: "mm-maps",
						children: [/* @__PURE__ */ U(Ni, {
							store: e,
							k: 0,
							views: t
						}), e.compare.value === "side" && /* @__PURE__ */ U(Ni, {
							store: e,
							k: 1,
							views: t
						})]
					}),
					e.trajectory && /* @__PURE__ */ U(Si, { store: e })
				]
			}), /* @__PURE__ */ U(Fi, { store: e })] }),
			/* @__PURE__ */ U("div", {
				class: "mm-said",
				role: "status",
				"aria-live": "polite",
				children: e.said.value
			})
		]
	});
}
function ji({ store: e, field: t }) {
	let n = ke(0), r = (t) => {
		clearTimeout(n.current), n.current = window.setTimeout(() => void e.seek(t), e.n > 5e4 ? 250 : 80);
	}, i = e.theme.value === "dark";
	return /* @__PURE__ */ U("header", { children: [
		/* @__PURE__ */ U("h1", {
			dir: "auto",
			children: e.meta.title
		}),
		e.source.maps && e.source.maps.names.length > 1 && /* @__PURE__ */ U(Mi, { maps: e.source.maps }),
		/* @__PURE__ */ U("span", {
			class: "mm-sub",
			dir: "auto",
			children: e.meta.subtitle
		}),
		/* @__PURE__ */ U("label", {
			class: "mm-find",
			children: [
				/* @__PURE__ */ U("span", {
					"aria-hidden": "true",
					children: "⌕"
				}),
				/* @__PURE__ */ U("input", {
					ref: t,
					type: "search",
					value: e.filters.value.search,
					placeholder: e.texts ? "search ids and texts" : "search ids",
					"aria-label": "Search",
					onInput: (e) => r(e.currentTarget.value)
				}),
				/* @__PURE__ */ U("kbd", { children: "/" })
			]
		}),
		/* @__PURE__ */ U("button", {
			type: "button",
			"aria-label": i ? "Light page" : "Dark page",
			onClick: () => e.theme.value = i ? "light" : "dark",
			children: i ? "☀" : "☾"
		})
	] });
}
function Mi({ maps: e }) {
	return /* @__PURE__ */ U("select", {
		"aria-label": "Map",
		title: e.names[e.at],
		value: e.at,
		onChange: (e) => location.assign(bt(location.pathname, Number(e.currentTarget.value))),
		children: e.names.map((e, t) => /* @__PURE__ */ U("option", {
			value: t,
			children: e.slice(0, 120)
		}, t))
	});
}
function Ni({ store: e, k: t, views: n }) {
	let r = ke(null), [i, a] = Ee(null);
	return Oe(() => {
		let i = new nr(e, t), o = Pt(i);
		return r.current.prepend(i.root), n[t] = i, a(i), () => {
			o(), i.destroy(), i.root.remove();
		};
	}, []), /* @__PURE__ */ U("div", {
		class: "mm-pane",
		ref: r,
		tabIndex: 0,
		role: "group",
		"aria-label": `Map of ${e.n} examples: leverage across, prediction error up. Arrow keys move through the examples in the table's order.`,
		children: /* @__PURE__ */ U(wr, {
			store: e,
			view: i
		})
	});
}
var Pi = (e) => e.meta.classification ? "Classes" : "Groups";
function Fi({ store: e }) {
	let t = [
		[
			"examples",
			"Examples",
			!0
		],
		[
			"curve",
			"Concentration",
			!0
		],
		[
			"rankings",
			"Rankings",
			e.meta.agreement !== null
		],
		[
			"groups",
			Pi(e),
			e.meta.groups.length > 0
		],
		[
			"movers",
			"Changes",
			e.models.length > 1
		],
		[
			"about",
			"About",
			!0
		]
	], n = e.tab.value;
	return /* @__PURE__ */ U("aside", {
		"aria-label": "Panels",
		children: [
			/* @__PURE__ */ U("div", {
				class: "mm-tabs",
				role: "tablist",
				children: t.filter(([, , e]) => e).map(([t, r]) => /* @__PURE__ */ U("button", {
					type: "button",
					role: "tab",
					"aria-selected": n === t,
					class: n === t ? "on" : "",
					onClick: () => e.tab.value = t,
					children: r
				}, t))
			}),
			n === "examples" && /* @__PURE__ */ U(Rr, { store: e }),
			n === "curve" && /* @__PURE__ */ U(Pr, { store: e }),
			n === "rankings" && /* @__PURE__ */ U(hi, { store: e }),
			n === "groups" && /* @__PURE__ */ U(oi, { store: e }),
			n === "movers" && /* @__PURE__ */ U(vi, { store: e }),
			n === "about" && /* @__PURE__ */ U(yi, { store: e })
		]
	});
}
async function Ii(e, t, n) {
	let r = t.slice(0, e.compare.peek() === "side" ? 2 : 1);
	if (!r.length) return;
	let i = n === "png" ? await Qt(r) : new Blob([$t(r)], { type: "image/svg+xml" });
	i && mr(`map.${n}`, i);
}
// src/state/link.ts
var Li = 2e3;
function Ri(e) {
	let t = e.selection.value, n = {
		log: e.log.value,
		color: e.color.value,
		marks: e.marks.value,
		filters: { ...e.filters.value },
		frame: e.frame.value,
		threshold: e.threshold.value,
		theme: e.theme.value === Ht() ? null : e.theme.value,
		selection: t.length <= Li ? [...t] : null,
		focus: e.focus.value,
		time: e.time.value,
		compare: e.compare.value,
		tab: e.tab.value,
		sort: e.sort.value
	};
	return `#${encodeURIComponent(JSON.stringify(n))}`;
}
function zi(e, t) {
	if (!(t.length < 2)) try {
		Bi(e, JSON.parse(decodeURIComponent(t.slice(1))));
	} catch {
		e.said.value = "the link could not be read: showing the whole map";
	}
}
function Bi(e, t) {
	let n = (t) => Number.isInteger(t) && t >= 0 && t < e.n, r = (t) => typeof t == "string" && e.table.has(t);
	Array.isArray(t.log) && (e.log.value = [!!t.log[0], !!t.log[1]]);
	let i = _n(t.color) && vn(e).includes(t.color);
	(r(t.color) || t.color === "correct" || i) && (e.color.value = t.color), (t.marks === "density" || t.marks === "points") && (e.marks.value = t.marks), r(t.sort?.key) && (e.sort.value = {
		key: t.sort.key,
		down: !!t.sort.down
	});
	let a = {
		...Jr,
		...t.filters
	};
	e.filters.value = {
		...a,
		classes: a.classes.filter(Number.isInteger)
	}, a.search && e.seek(String(a.search)), t.frame?.length === 4 && t.frame.every(Number.isFinite) && (e.frame.value = t.frame), t.threshold > 0 && (e.threshold.value = t.threshold), (t.theme === "light" || t.theme === "dark") && (e.theme.value = t.theme), t.selection?.length && e.select(t.selection.filter(n), "by the link"), t.time >= 0 && t.time <= e.meta.steps.length - 1 && (e.time.value = t.time), e.models.length > 1 && (t.compare === "side" || t.compare === "arrows") && (e.compare.value = t.compare), n(t.focus) && (e.focus.value = t.focus);
}
function Vi(e) {
	zi(e, location.hash);
	let [t, n] = [0, location.hash], r = (e) => {
		location.hash === n && (history.replaceState(null, "", e), n = location.hash);
	}, i = () => location.reload();
	addEventListener("hashchange", i);
	let a = st(() => {
		let n = Ri(e);
		clearTimeout(t), t = window.setTimeout(r, 250, n);
	});
	return () => {
		a(), clearTimeout(t), removeEventListener("hashchange", i);
	};
}
// src/data/sheets.ts
var Hi = 32, Ui = class {
	source;
	slots;
	about;
	kept = /* @__PURE__ */ new Map();
	constructor(e, t, n) {
		this.source = e, this.slots = t, this.about = n;
	}
	has(e) {
		let t = this.slots[e];
		return t >= 0 && t < this.about.included;
	}
	sheet(e) {
		let t = this.kept.get(e) ?? this.source.sheet(e).then((e) => createImageBitmap(e));
		return this.kept.delete(e), this.kept.set(e, t), this.kept.size > Hi && this.forget(), t;
	}
	forget() {
		let [e, t] = this.kept.entries().next().value;
		this.kept.delete(e), t.then((e) => e.close());
	}
	async draw(e, t, n, r = () => !0) {
		let { width: i, height: a, grid: o } = this.about, s = this.slots[e], c = await this.sheet(Math.floor(s / (o * o)));
		if (!r()) return;
		let l = s % (o * o), u = Math.min(n / i, n / a), [d, f] = [i * u, a * u];
		t.imageSmoothingEnabled = u < 3, t.drawImage(c, l % o * i, Math.floor(l / o) * a, i, a, (n - d) / 2, (n - f) / 2, d, f);
	}
}, Wi = Uint8Array.of(65, 82, 82, 79, 87, 49), Gi = {
	V1: 0,
	V2: 1,
	V3: 2,
	V4: 3,
	V5: 4
}, Ki = {
	NONE: 0,
	Schema: 1,
	DictionaryBatch: 2,
	RecordBatch: 3,
	Tensor: 4,
	SparseTensor: 5
}, W = {
	Dictionary: -1,
	NONE: 0,
	Null: 1,
	Int: 2,
	Float: 3,
	Binary: 4,
	Utf8: 5,
	Bool: 6,
	Decimal: 7,
	Date: 8,
	Time: 9,
	Timestamp: 10,
	Interval: 11,
	List: 12,
	Struct: 13,
	Union: 14,
	FixedSizeBinary: 15,
	FixedSizeList: 16,
	Map: 17,
	Duration: 18,
	LargeBinary: 19,
	LargeUtf8: 20,
	LargeList: 21,
	RunEndEncoded: 22,
	BinaryView: 23,
	Utf8View: 24,
	ListView: 25,
	LargeListView: 26
}, qi = {
	HALF: 0,
	SINGLE: 1,
	DOUBLE: 2
}, Ji = {
	DAY: 0,
	MILLISECOND: 1
}, G = {
	SECOND: 0,
	MILLISECOND: 1,
	MICROSECOND: 2,
	NANOSECOND: 3
}, Yi = {
	YEAR_MONTH: 0,
	DAY_TIME: 1,
	MONTH_DAY_NANO: 2
}, Xi = {
	Sparse: 0,
	Dense: 1
}, Zi = {
	LZ4_FRAME: 0,
	ZSTD: 1
}, Qi = { BUFFER: 0 }, $i = Uint8Array, ea = Uint16Array, ta = Uint32Array, na = BigUint64Array, ra = Int8Array, ia = Int16Array, K = Int32Array, q = BigInt64Array, aa = Float32Array, oa = Float64Array;
function sa(e) {
	return Object.prototype.toString.call(e);
}
function ca(e) {
	return sa(e) === "[object ArrayBuffer]" || sa(e) === "[object SharedArrayBuffer]";
}
function la(e) {
	return sa(e) === "[object Uint8Array]";
}
function ua(e, t) {
	let n = Math.log2(e) - 3;
	return (t ? [
		ra,
		ia,
		K,
		q
	] : [
		$i,
		ea,
		ta,
		na
	])[n];
}
function da(e, t) {
	let n = 0, r = e.length;
	if (r <= 2147483648) do {
		let i = n + r >>> 1;
		e[i] <= t ? n = i + 1 : r = i;
	} while (n < r);
	else do {
		let i = Math.trunc((n + r) / 2);
		e[i] <= t ? n = i + 1 : r = i;
	} while (n < r);
	return n;
}
// node_modules/@uwdata/flechette/src/util/objects.js
function fa(e, t, n) {
	if (t(e)) return e;
	throw Error(n(e));
}
function J(e, t, n) {
	return t = Array.isArray(t) ? t : Object.values(t), fa(e, (e) => t.includes(e), n ?? (() => `${e} must be one of ${t}`));
}
function pa(e, t) {
	for (let [n, r] of Object.entries(e)) if (r === t) return n;
	return "<Unknown>";
}
// node_modules/@uwdata/flechette/src/data-types.js
var ma = (e) => `Unsupported data type: "${pa(W, e)}" (id ${e})`, ha = (e, t, n = !0, r = null) => ({
	name: e,
	type: t,
	nullable: n,
	metadata: r
});
function ga(e) {
	return Object.hasOwn(e, "name") && _a(e.type);
}
function _a(e) {
	return typeof e?.typeId == "number";
}
function va(e, t = "", n = !0) {
	return ga(e) ? e : ha(t, fa(e, _a, () => "Data type expected."), n);
}
var ya = (e, t, n = !1, r = -1) => ({
	typeId: W.Dictionary,
	id: r,
	dictionary: e,
	indices: t || xa(),
	ordered: n
}), ba = (e = 32, t = !0) => ({
	typeId: W.Int,
	bitWidth: J(e, [
		8,
		16,
		32,
		64
	]),
	signed: t,
	values: ua(e, t)
}), xa = () => ba(32), Sa = (e = 2) => ({
	typeId: W.Float,
	precision: J(e, qi),
	values: [
		ea,
		aa,
		oa
	][e]
}), Ca = () => ({
	typeId: W.Binary,
	offsets: K
}), wa = () => ({
	typeId: W.Utf8,
	offsets: K
}), Ta = (e, t, n = 128) => ({
	typeId: W.Decimal,
	precision: e,
	scale: t,
	bitWidth: J(n, [
		32,
		64,
		128,
		256
	]),
	values: n === 32 ? K : na
}), Ea = (e) => ({
	typeId: W.Date,
	unit: J(e, Ji),
	values: e === Ji.DAY ? K : q
}), Da = (e = G.MILLISECOND) => {
	e = J(e, G);
	let t = e === G.SECOND || e === G.MILLISECOND ? 32 : 64;
	return {
		typeId: W.Time,
		unit: e,
		bitWidth: t,
		values: t === 32 ? K : q
	};
}, Oa = (e = G.MILLISECOND, t = null) => ({
	typeId: W.Timestamp,
	unit: J(e, G),
	timezone: t,
	values: q
}), ka = (e = Yi.MONTH_DAY_NANO) => ({
	typeId: W.Interval,
	unit: J(e, Yi),
	values: e === Yi.MONTH_DAY_NANO ? void 0 : K
}), Aa = (e) => ({
	typeId: W.List,
	children: [va(e)],
	offsets: K
}), ja = (e) => ({
	typeId: W.Struct,
	children: Array.isArray(e) && e.length > 0 && ga(e[0]) ? e : Object.entries(e).map(([e, t]) => ha(e, t))
}), Ma = (e, t, n, r) => (n ??= t.map((e, t) => t), {
	typeId: W.Union,
	mode: J(e, Xi),
	typeIds: n,
	typeMap: n.reduce((e, t, n) => (e[t] = n, e), {}),
	children: t.map((e, t) => va(e, `_${t}`)),
	typeIdForValue: r,
	offsets: K
}), Na = (e) => ({
	typeId: W.FixedSizeBinary,
	stride: e
}), Pa = (e, t) => ({
	typeId: W.FixedSizeList,
	stride: t,
	children: [va(e)]
}), Fa = (e, t) => ({
	typeId: W.Map,
	keysSorted: e,
	children: [t],
	offsets: K
}), Ia = (e = G.MILLISECOND) => ({
	typeId: W.Duration,
	unit: J(e, G),
	values: q
}), La = () => ({
	typeId: W.LargeBinary,
	offsets: q
}), Ra = () => ({
	typeId: W.LargeUtf8,
	offsets: q
}), za = (e) => ({
	typeId: W.LargeList,
	children: [va(e)],
	offsets: q
}), Ba = (e, t) => ({
	typeId: W.RunEndEncoded,
	children: [fa(va(e, "run_ends"), (e) => e.type.typeId === W.Int, () => "Run-ends must have an integer type."), va(t, "values")]
}), Va = (e) => ({
	typeId: W.ListView,
	children: [va(e, "value")],
	offsets: K
}), Ha = (e) => ({
	typeId: W.LargeListView,
	children: [va(e, "value")],
	offsets: q
}), Ua = new oa(2).buffer;
new q(Ua), new ta(Ua), new K(Ua), new $i(Ua);
function Wa(e) {
	if (e > 2 ** 53 - 1 || e < -(2 ** 53 - 1)) throw Error(`BigInt exceeds integer number representation: ${e}`);
	return Number(e);
}
function Ga(e, t) {
	return Number(e / t) + Number(e % t) / Number(t);
}
var Ka = (e) => BigInt.asUintN(64, e);
function qa(e, t) {
	return BigInt.asIntN(64, e[t]);
}
function Ja(e, t) {
	let n = t << 1, r;
	return BigInt.asIntN(64, e[n + 1]) < 0 ? (r = Ka(~e[n]) | Ka(~e[n + 1]) << 64n, r = -(r + 1n)) : r = e[n] | e[n + 1] << 64n, r;
}
function Ya(e, t) {
	let n = t << 2, r;
	return BigInt.asIntN(64, e[n + 3]) < 0 ? (r = Ka(~e[n]) | Ka(~e[n + 1]) << 64n | Ka(~e[n + 2]) << 128n | Ka(~e[n + 3]) << 192n, r = -(r + 1n)) : r = e[n] | e[n + 1] << 64n | e[n + 2] << 128n | e[n + 3] << 192n, r;
}
// node_modules/@uwdata/flechette/src/util/strings.js
var Xa = new TextDecoder("utf-8");
new TextEncoder();
function Za(e) {
	return Xa.decode(e);
}
function Qa(e, t) {
	return !!(e[t >> 3] & 1 << t % 8);
}
function Y(e, t) {
	let n = t + Z(e, t), r = n - Z(e, n), i = X(e, r);
	return (t, a, o = null) => {
		if (t < i) {
			let i = X(e, r + t);
			if (i) return a(e, n + i);
		}
		return o;
	};
}
function $a(e, t) {
	return t;
}
function eo(e, t) {
	return !!to(e, t);
}
function to(e, t) {
	return no(e, t) << 24 >> 24;
}
function no(e, t) {
	return e[t];
}
function X(e, t) {
	return ro(e, t) << 16 >> 16;
}
function ro(e, t) {
	return e[t] | e[t + 1] << 8;
}
function Z(e, t) {
	return e[t] | e[t + 1] << 8 | e[t + 2] << 16 | e[t + 3] << 24;
}
function io(e, t) {
	return Z(e, t) >>> 0;
}
function Q(e, t) {
	return Wa(BigInt.asIntN(64, BigInt(io(e, t)) + (BigInt(io(e, t + 4)) << 32n)));
}
function ao(e, t) {
	let n = t + Z(e, t), r = Z(e, n);
	return n += 4, Za(e.subarray(n, n + r));
}
function oo(e, t, n, r) {
	if (!t) return [];
	let i = t + Z(e, t);
	return Array.from({ length: Z(e, i) }, (t, a) => r(e, i + 4 + a * n));
}
// node_modules/@uwdata/flechette/src/util/struct.js
var so = Symbol("rowIndex");
function co(e, t) {
	class n {
		constructor(e) {
			this[so] = e;
		}
		toJSON() {
			return uo(e, t, this[so]);
		}
	}
	let r = n.prototype;
	for (let n = 0; n < e.length; ++n) {
		if (Object.hasOwn(r, e[n])) continue;
		let i = t[n];
		Object.defineProperty(r, e[n], {
			get() {
				return i.at(this[so]);
			},
			enumerable: !0
		});
	}
	return (e) => new n(e);
}
function lo(e, t) {
	return (n) => uo(e, t, n);
}
function uo(e, t, n) {
	let r = {};
	for (let i = 0; i < e.length; ++i) r[e[i]] = t[i].at(n);
	return r;
}
// node_modules/@uwdata/flechette/src/batch.js
function fo(e) {
	return e instanceof mo;
}
var po = class {
	static ArrayType = null;
	constructor({ length: e, nullCount: t, type: n, validity: r, values: i, offsets: a, sizes: o, children: s }) {
		this.length = e, this.nullCount = t, this.type = n, this.validity = r, this.values = i, this.offsets = a, this.sizes = o, this.children = s, t && this.validity || (this.at = (e) => this.value(e));
	}
	get [Symbol.toStringTag]() {
		return "Batch";
	}
	at(e) {
		return this.isValid(e) ? this.value(e) : null;
	}
	isValid(e) {
		return Qa(this.validity, e);
	}
	value(e) {
		return this.values[e];
	}
	slice(e, t) {
		let n = t - e, r = Array(n);
		for (let t = 0; t < n; ++t) r[t] = this.at(e + t);
		return r;
	}
	*[Symbol.iterator]() {
		for (let e = 0; e < this.length; ++e) yield this.at(e);
	}
}, mo = class extends po {
	constructor(e) {
		super(e);
		let { length: t, values: n } = this;
		this.values = n.subarray(0, t);
	}
	slice(e, t) {
		return this.nullCount ? super.slice(e, t) : this.values.subarray(e, t);
	}
	[Symbol.iterator]() {
		return this.nullCount ? super[Symbol.iterator]() : this.values[Symbol.iterator]();
	}
}, ho = class extends po {
	static ArrayType = oa;
}, $ = class extends po {
	static ArrayType = Array;
}, go = class extends $ {
	value(e) {
		return null;
	}
}, _o = class extends ho {
	value(e) {
		return Wa(this.values[e]);
	}
}, vo = class extends ho {
	value(e) {
		let t = this.values[e], n = (t & 31744) >> 10, r = (t & 1023) / 1024, i = (-1) ** ((t & 32768) >> 15);
		switch (n) {
			case 31: return i * (r ? NaN : 1 / 0);
			case 0: return i * (r ? 6103515625e-14 * r : 0);
		}
		return i * 2 ** (n - 15) * (1 + r);
	}
}, yo = class extends $ {
	value(e) {
		return Qa(this.values, e);
	}
}, bo = class extends ho {
	constructor(e) {
		super(e);
		let { scale: t } = this.type;
		this.scale = 10 ** t;
	}
	value(e) {
		return this.values[e] / this.scale;
	}
}, xo = class extends po {
	constructor(e) {
		super(e);
		let { bitWidth: t, scale: n } = this.type;
		this.decimal = t === 64 ? qa : t === 128 ? Ja : Ya, this.scale = 10n ** BigInt(n);
	}
}, So = class extends xo {
	static ArrayType = oa;
	value(e) {
		return Ga(this.decimal(this.values, e), this.scale);
	}
}, Co = class extends xo {
	static ArrayType = Array;
	value(e) {
		return this.decimal(this.values, e);
	}
}, wo = class extends $ {
	constructor(e) {
		super(e), this.source = e;
	}
	value(e) {
		return new Date(this.source.value(e));
	}
}, To = class extends ho {
	value(e) {
		return 864e5 * this.values[e];
	}
}, Eo = _o, Do = class extends _o {
	value(e) {
		return super.value(e) * 1e3;
	}
}, Oo = _o, ko = class extends _o {
	value(e) {
		return Ga(this.values[e], 1000n);
	}
}, Ao = class extends _o {
	value(e) {
		return Ga(this.values[e], 1000000n);
	}
}, jo = class extends $ {
	value(e) {
		return this.values.subarray(e << 1, e + 1 << 1);
	}
}, Mo = class extends $ {
	value(e) {
		let t = this.values, n = e << 4;
		return Float64Array.of(Z(t, n), Z(t, n + 4), Q(t, n + 8));
	}
}, No = ({ values: e, offsets: t }, n) => e.subarray(t[n], t[n + 1]), Po = ({ values: e, offsets: t }, n) => e.subarray(Wa(t[n]), Wa(t[n + 1])), Fo = class extends $ {
	value(e) {
		return No(this, e);
	}
}, Io = class extends $ {
	value(e) {
		return Po(this, e);
	}
}, Lo = class extends $ {
	value(e) {
		return Za(No(this, e));
	}
}, Ro = class extends $ {
	value(e) {
		return Za(Po(this, e));
	}
}, zo = class extends $ {
	value(e) {
		let t = this.offsets;
		return this.children[0].slice(t[e], t[e + 1]);
	}
}, Bo = class extends $ {
	value(e) {
		let t = this.offsets;
		return this.children[0].slice(Wa(t[e]), Wa(t[e + 1]));
	}
}, Vo = class extends $ {
	value(e) {
		let t = this.offsets[e], n = t + this.sizes[e];
		return this.children[0].slice(t, n);
	}
}, Ho = class extends $ {
	value(e) {
		let t = this.offsets[e], n = t + this.sizes[e];
		return this.children[0].slice(Wa(t), Wa(n));
	}
}, Uo = class extends $ {
	constructor(e) {
		super(e), this.stride = this.type.stride;
	}
}, Wo = class extends Uo {
	value(e) {
		let { stride: t, values: n } = this;
		return n.subarray(e * t, (e + 1) * t);
	}
}, Go = class extends Uo {
	value(e) {
		let { children: t, stride: n } = this;
		return t[0].slice(e * n, (e + 1) * n);
	}
};
function Ko({ children: e, offsets: t }, n) {
	let [r, i] = e[0].children, a = t[n], o = t[n + 1], s = [];
	for (let e = a; e < o; ++e) s.push([r.at(e), i.at(e)]);
	return s;
}
var qo = class extends $ {
	value(e) {
		return Ko(this, e);
	}
}, Jo = class extends $ {
	value(e) {
		return new Map(Ko(this, e));
	}
}, Yo = class extends $ {
	constructor({ typeIds: e, ...t }) {
		super(t), this.typeIds = e, this.typeMap = this.type.typeMap;
	}
	value(e, t = e) {
		let { typeIds: n, children: r, typeMap: i } = this;
		return r[i[n[e]]].at(t);
	}
}, Xo = class extends Yo {
	value(e) {
		return super.value(e, this.offsets[e]);
	}
}, Zo = class extends $ {
	constructor(e, t = lo) {
		super(e), this.names = this.type.children.map((e) => e.name), this.factory = t(this.names, this.children);
	}
	value(e) {
		return this.factory(e);
	}
}, Qo = class extends Zo {
	constructor(e) {
		super(e, co);
	}
}, $o = class extends $ {
	value(e) {
		let [{ values: t }, n] = this.children;
		return n.at(da(t, e));
	}
}, es = class extends $ {
	setDictionary(e) {
		return this.dictionary = e, this.cache = e.cache(), this;
	}
	value(e) {
		return this.cache[this.key(e)];
	}
	key(e) {
		return this.values[e];
	}
}, ts = class extends $ {
	constructor({ data: e, ...t }) {
		super(t), this.data = e;
	}
	view(e) {
		let { values: t, data: n } = this, r = e << 4, i = r + 4, a = t, o = Z(a, r);
		return o > 12 && (i = Z(a, r + 12), a = n[Z(a, r + 8)]), a.subarray(i, i + o);
	}
}, ns = class extends ts {
	value(e) {
		return this.view(e);
	}
}, rs = class extends ts {
	value(e) {
		return Za(this.view(e));
	}
};
// node_modules/@uwdata/flechette/src/column.js
function is(e) {
	let t = [];
	return {
		add(e) {
			return t.push(e), this;
		},
		clear: () => t = [],
		done: () => new as(t, e)
	};
}
var as = class {
	constructor(e, t = e[0]?.type) {
		this.type = t, this.length = e.reduce((e, t) => e + t.length, 0), this.nullCount = e.reduce((e, t) => e + t.nullCount, 0), this.data = e;
		let n = e.length, r = new Int32Array(n + 1);
		if (n === 1) {
			let [t] = e;
			r[1] = t.length, this.at = (e) => t.at(e);
		} else for (let t = 0, i = 0; t < n; ++t) r[t + 1] = i += e[t].length;
		this.offsets = r;
	}
	get [Symbol.toStringTag]() {
		return "Column";
	}
	[Symbol.iterator]() {
		let e = this.data;
		return e.length === 1 ? e[0][Symbol.iterator]() : os(e);
	}
	at(e) {
		let { data: t, offsets: n } = this, r = da(n, e) - 1;
		return t[r]?.at(e - n[r]);
	}
	get(e) {
		return this.at(e);
	}
	toArray() {
		let { length: e, nullCount: t, data: n } = this, r = !t && fo(n[0]), i = n.length;
		if (r && i === 1) return n[0].values;
		let a = new (!i || t > 0 ? Array : n[0].constructor.ArrayType ?? n[0].values.constructor)(e);
		return r ? ss(a, n) : cs(a, n);
	}
	cache() {
		return this._cache ??= this.toArray();
	}
};
function* os(e) {
	for (let t = 0; t < e.length; ++t) {
		let n = e[t][Symbol.iterator]();
		for (let e = n.next(); !e.done; e = n.next()) yield e.value;
	}
}
function ss(e, t) {
	for (let n = 0, r = 0; n < t.length; ++n) {
		let { values: i } = t[n];
		e.set(i, r), r += i.length;
	}
	return e;
}
function cs(e, t) {
	let n = -1;
	for (let r = 0; r < t.length; ++r) {
		let i = t[r];
		for (let t = 0; t < i.length; ++t) e[++n] = i.at(t);
	}
	return e;
}
// node_modules/@uwdata/flechette/src/table.js
var ls = class e {
	constructor(e, t, n = !1) {
		let r = e.fields.map((e) => e.name);
		this.schema = e, this.names = r, this.children = t, this.factory = n ? co : lo;
		let i = [];
		this.getFactory = (e) => i[e] ?? (i[e] = this.factory(r, t.map((t) => t.data[e])));
	}
	get [Symbol.toStringTag]() {
		return "Table";
	}
	get numCols() {
		return this.names.length;
	}
	get numRows() {
		return this.children[0]?.length ?? 0;
	}
	getChildAt(e) {
		return this.children[e];
	}
	getChild(e) {
		let t = this.names.findIndex((t) => t === e);
		return t > -1 ? this.children[t] : void 0;
	}
	selectAt(t, n = []) {
		let { children: r, factory: i, schema: a } = this, { fields: o } = a;
		return new e({
			...a,
			fields: t.map((e, t) => us(o[e], n[t]))
		}, t.map((e) => r[e]), i === co);
	}
	select(e, t) {
		let n = this.names, r = e.map((e) => n.indexOf(e));
		return this.selectAt(r, t);
	}
	toColumns() {
		let { children: e, names: t } = this, n = {};
		return t.forEach((t, r) => n[t] = e[r]?.toArray() ?? []), n;
	}
	toArray() {
		let { children: e, getFactory: t, numRows: n } = this, r = e[0]?.data ?? [], i = Array(n);
		for (let e = 0, n = -1; e < r.length; ++e) {
			let a = t(e);
			for (let t = 0; t < r[e].length; ++t) i[++n] = a(t);
		}
		return i;
	}
	*[Symbol.iterator]() {
		let { children: e, getFactory: t } = this, n = e[0]?.data ?? [];
		for (let e = 0; e < n.length; ++e) {
			let r = t(e);
			for (let t = 0; t < n[e].length; ++t) yield r(t);
		}
	}
	at(e) {
		let { children: t, getFactory: n, numRows: r } = this;
		if (e < 0 || e >= r) return null;
		let [{ offsets: i }] = t, a = da(i, e) - 1;
		return n(a)(e - i[a]);
	}
	get(e) {
		return this.at(e);
	}
};
function us(e, t) {
	return t != null && t !== e.name ? {
		...e,
		name: t
	} : e;
}
// node_modules/@uwdata/flechette/src/batch-type.js
function ds(e, t = {}) {
	let { typeId: n, bitWidth: r, mode: i, precision: a, unit: o } = e, { useBigInt: s, useBigIntTimestamp: c, useDate: l, useDecimalInt: u, useMap: d, useProxy: f } = t;
	switch (n) {
		case W.Null: return go;
		case W.Bool: return yo;
		case W.Int:
		case W.Time:
		case W.Duration: return s || r < 64 ? mo : _o;
		case W.Float: return a ? mo : vo;
		case W.Date: return fs(o === Ji.DAY ? To : Eo, l && wo);
		case W.Timestamp: return c ? mo : fs(o === G.SECOND ? Do : o === G.MILLISECOND ? Oo : o === G.MICROSECOND ? ko : Ao, l && wo);
		case W.Decimal: return r === 32 ? u ? mo : bo : u ? Co : So;
		case W.Interval: return o === Yi.DAY_TIME ? jo : o === Yi.YEAR_MONTH ? mo : Mo;
		case W.FixedSizeBinary: return Wo;
		case W.Utf8: return Lo;
		case W.LargeUtf8: return Ro;
		case W.Binary: return Fo;
		case W.LargeBinary: return Io;
		case W.BinaryView: return ns;
		case W.Utf8View: return rs;
		case W.List: return zo;
		case W.LargeList: return Bo;
		case W.Map: return d ? Jo : qo;
		case W.ListView: return Vo;
		case W.LargeListView: return Ho;
		case W.FixedSizeList: return Go;
		case W.Struct: return f ? Qo : Zo;
		case W.RunEndEncoded: return $o;
		case W.Dictionary: return es;
		case W.Union: return i ? Xo : Yo;
	}
	throw Error(ma(n));
}
function fs(e, t) {
	return t ? class extends t {
		constructor(t) {
			super(new e(t));
		}
	} : e;
}
// node_modules/@uwdata/flechette/src/compression.js
var ps = -1, ms = 8;
function hs(e) {
	return `Missing compression codec "${pa(Zi, e)}" (id ${e})`;
}
var gs = /* @__PURE__ */ new Map();
function _s(e) {
	return e != null && gs.get(e) || null;
}
function vs(e, { offset: t, length: n }, r) {
	if (n === 0) return {
		bytes: /* @__PURE__ */ new Uint8Array(),
		offset: 0,
		length: 0
	};
	let i = Q(e, t), a = e.subarray(t + ms, t + n), o = i === ps ? a : r.decode(a, i);
	return {
		bytes: o,
		offset: 0,
		length: o.length
	};
}
// node_modules/@uwdata/flechette/src/decode/block.js
function ys(e, t) {
	return {
		offset: Q(e, t),
		metadataLength: Z(e, t + 8),
		bodyLength: Q(e, t + 16)
	};
}
function bs(e, t) {
	return oo(e, t, 24, ys);
}
// node_modules/@uwdata/flechette/src/decode/body-compression.js
function xs(e, t) {
	let n = Y(e, t);
	return {
		codec: n(4, to, Zi.LZ4_FRAME),
		method: n(6, to, Qi.BUFFER)
	};
}
// node_modules/@uwdata/flechette/src/decode/record-batch.js
function Ss(e, t, n) {
	let r = Y(e, t), i = n < Gi.V4 ? 8 : 0;
	return {
		length: r(4, Q, 0),
		nodes: oo(e, r(6, $a), 16, (e, t) => ({
			length: Q(e, t),
			nullCount: Q(e, t + 8)
		})),
		regions: oo(e, r(8, $a), 16 + i, (e, t) => ({
			offset: Q(e, t + i),
			length: Q(e, t + i + 8)
		})),
		compression: r(10, xs),
		variadic: oo(e, r(12, $a), 8, Q)
	};
}
// node_modules/@uwdata/flechette/src/decode/dictionary-batch.js
function Cs(e, t, n) {
	let r = Y(e, t);
	return {
		id: r(4, Q, 0),
		data: r(6, (e, t) => Ss(e, t, n)),
		isDelta: r(8, eo, !1)
	};
}
// node_modules/@uwdata/flechette/src/decode/data-type.js
function ws(e, t, n, r) {
	J(n, W, ma);
	let i = Y(e, t);
	switch (n) {
		case W.Binary: return Ca();
		case W.Utf8: return wa();
		case W.LargeBinary: return La();
		case W.LargeUtf8: return Ra();
		case W.List: return Aa(r[0]);
		case W.ListView: return Va(r[0]);
		case W.LargeList: return za(r[0]);
		case W.LargeListView: return Ha(r[0]);
		case W.Struct: return ja(r);
		case W.RunEndEncoded: return Ba(r[0], r[1]);
		case W.Int: return ba(i(4, Z, 0), i(6, eo, !1));
		case W.Float: return Sa(i(4, X, qi.HALF));
		case W.Decimal: return Ta(i(4, Z, 0), i(6, Z, 0), i(8, Z, 128));
		case W.Date: return Ea(i(4, X, Ji.MILLISECOND));
		case W.Time: return Da(i(4, X, G.MILLISECOND));
		case W.Timestamp: return Oa(i(4, X, G.SECOND), i(6, ao));
		case W.Interval: return ka(i(4, X, Yi.YEAR_MONTH));
		case W.Duration: return Ia(i(4, X, G.MILLISECOND));
		case W.FixedSizeBinary: return Na(i(4, Z, 0));
		case W.FixedSizeList: return Pa(r[0], i(4, Z, 0));
		case W.Map: return Fa(i(4, eo, !1), r[0]);
		case W.Union: return Ma(i(4, X, Xi.Sparse), r, oo(e, i(6, $a), 4, Z));
	}
	return { typeId: n };
}
// node_modules/@uwdata/flechette/src/decode/metadata.js
function Ts(e, t) {
	let n = oo(e, t, 4, (e, t) => {
		let n = Y(e, t);
		return [n(4, ao), n(6, ao)];
	});
	return n.length ? new Map(n) : null;
}
// node_modules/@uwdata/flechette/src/decode/schema.js
function Es(e, t, n) {
	let r = Y(e, t);
	return {
		version: n,
		endianness: r(4, X, 0),
		fields: r(6, Ds, []),
		metadata: r(8, Ts)
	};
}
function Ds(e, t) {
	return oo(e, t, 4, Os);
}
function Os(e, t) {
	let n = Y(e, t), r = n(8, no, W.NONE), i = n(10, $a, 0), a = n(12, As), o = ws(e, i, r, n(14, ks, []));
	return a && (a.dictionary = o, o = a), {
		name: n(4, ao),
		type: o,
		nullable: n(6, eo, !1),
		metadata: n(16, Ts)
	};
}
function ks(e, t) {
	return oo(e, t, 4, Os);
}
function As(e, t) {
	if (!t) return null;
	let n = Y(e, t);
	return ya(null, n(6, js, xa()), n(8, eo, !1), n(4, Q, 0));
}
function js(e, t) {
	return ws(e, t, W.Int);
}
// node_modules/@uwdata/flechette/src/decode/message.js
var Ms = (e, t) => `Expected to read ${e} metadata bytes, but only read ${t}.`, Ns = (e, t) => `Expected to read ${e} bytes for message body, but only read ${t}.`, Ps = (e) => `Unsupported message type: ${e} (${pa(Ki, e)})`;
function Fs(e, t) {
	let n = Z(e, t) || 0;
	if (t += 4, n === -1 && (n = Z(e, t) || 0, t += 4), n === 0) return null;
	let r = e.subarray(t, t += n);
	if (r.byteLength < n) throw Error(Ms(n, r.byteLength));
	let i = Y(r, 0), a = i(4, X, Gi.V1), o = i(6, no, Ki.NONE), s = i(8, $a, 0), c = i(10, Q, 0), l;
	if (s) {
		let n = o === Ki.Schema ? Es : o === Ki.DictionaryBatch ? Cs : o === Ki.RecordBatch ? Ss : null;
		if (!n) throw Error(Ps(o));
		if (l = n(r, s, a), c > 0) {
			let n = e.subarray(t, t += c);
			if (n.byteLength < c) throw Error(Ns(c, n.byteLength));
			l.body = n;
		} else o !== Ki.Schema && (l.body = /* @__PURE__ */ new Uint8Array());
	}
	return {
		version: a,
		type: o,
		index: t,
		content: l
	};
}
// node_modules/@uwdata/flechette/src/decode/decode-ipc.js
function Is(e) {
	let t = ca(e) ? new Uint8Array(e) : e;
	return la(t) && Ls(t) ? zs(t) : Rs(t);
}
function Ls(e) {
	if (!e || e.length < 4) return !1;
	for (let t = 0; t < 6; ++t) if (Wi[t] !== e[t]) return !1;
	return !0;
}
function Rs(e) {
	let t = [e].flat(), n, r = [], i = [], a = [];
	for (let e of t) {
		if (!la(e)) throw Error("IPC data batch was not a Uint8Array.");
		let t = 0;
		for (;;) {
			let o = Fs(e, t);
			if (o === null) break;
			if (t = o.index, o.content) switch (o.type) {
				case Ki.Schema:
					n ||= o.content;
					break;
				case Ki.RecordBatch:
					r.push(o.content), a.push(i.length);
					break;
				case Ki.DictionaryBatch: i.push(o.content);
			}
		}
	}
	return {
		schema: n,
		dictionaries: i,
		records: r,
		dictsBeforeRecord: a,
		metadata: null
	};
}
function zs(e) {
	let t = e.byteLength - (Wi.length + 4), n = Y(e, t - Z(e, t)), r = n(4, X, Gi.V1), i = n(8, bs, []), a = n(10, bs, []), o = a.map((e) => i.filter((t) => t.offset < e.offset).length);
	return {
		schema: n(6, (e, t) => Es(e, t, r)),
		dictionaries: i.map(({ offset: t }) => Fs(e, t).content),
		records: a.map(({ offset: t }) => Fs(e, t).content),
		dictsBeforeRecord: o,
		metadata: n(12, Ts)
	};
}
// node_modules/@uwdata/flechette/src/decode/table-from-ipc.js
function Bs(e, t) {
	return Vs(Is(e), t);
}
function Vs(e, t = {}) {
	let { schema: n = { fields: [] }, dictionaries: r, records: i, dictsBeforeRecord: a } = e, { version: o, fields: s } = n, c = /* @__PURE__ */ new Map(), l = Us(t, o, c), u = /* @__PURE__ */ new Map();
	Hs(n, (e) => {
		let t = e.type;
		t.typeId === W.Dictionary && u.set(t.id, t.dictionary);
	});
	let d = (e) => {
		let { id: t, data: n, isDelta: r, body: i } = e, a = u.get(t), o = Gs(a, l({
			...n,
			body: i
		})), s = c.get(t);
		if (s) r ? c.set(t, new as([...s.data, o], a)) : c.set(t, new as([o], a));
		else {
			if (r) throw Error("Delta update can not be first dictionary batch.");
			c.set(t, new as([o], a));
		}
	}, f = s.map((e) => is(e.type)), p = 0;
	for (let e = 0; e < i.length; e++) {
		let t = a ? a[e] : r.length;
		for (; p < t;) d(r[p++]);
		let n = l(i[e]);
		s.forEach((e, t) => f[t].add(Gs(e.type, n)));
	}
	for (; p < r.length;) d(r[p++]);
	return new ls(n, f.map((e) => e.done()), t.useProxy);
}
function Hs(e, t) {
	e.fields.forEach(function e(n) {
		t(n), n.type.dictionary?.children?.forEach(e), n.type.children?.forEach(e);
	});
}
function Us(e, t, n) {
	let r = {
		version: t,
		options: e,
		dictionary: (e) => n.get(e)
	};
	return (e) => {
		let { length: t, nodes: n, regions: i, compression: a, variadic: o, body: s } = e, c = -1, l = -1, u = -1;
		return {
			...r,
			length: t,
			node: () => n[++c],
			buffer: (e) => {
				let { bytes: t, length: n, offset: r } = Ws(s, i[++l], a);
				return e ? new e(t.buffer, t.byteOffset + r, n / e.BYTES_PER_ELEMENT) : t.subarray(r, r + n);
			},
			variadic: () => o[++u],
			visit(e) {
				return e.map((e) => Gs(e.type, this));
			}
		};
	};
}
function Ws(e, t, n) {
	if (!n) return {
		bytes: e,
		...t
	};
	if (n.method !== Qi.BUFFER) throw Error(`Unknown compression method (${n.method})`);
	{
		let r = n.codec, i = _s(r);
		if (!i) throw Error(hs(r));
		return vs(e, t, i);
	}
}
function Gs(e, t) {
	let { typeId: n } = e, { options: r, node: i, buffer: a, variadic: o, version: s } = t, c = ds(e, r), l = {
		...i(),
		type: e
	};
	if (n === W.Null) return new c({
		...l,
		nullCount: l.length
	});
	switch (n) {
		case W.Bool:
		case W.Int:
		case W.Time:
		case W.Duration:
		case W.Float:
		case W.Decimal:
		case W.Date:
		case W.Timestamp:
		case W.Interval:
		case W.FixedSizeBinary: return new c({
			...l,
			validity: a(),
			values: a(e.values)
		});
		case W.Utf8:
		case W.LargeUtf8:
		case W.Binary:
		case W.LargeBinary: return new c({
			...l,
			validity: a(),
			offsets: a(e.offsets),
			values: a()
		});
		case W.BinaryView:
		case W.Utf8View: return new c({
			...l,
			validity: a(),
			values: a(),
			data: Array.from({ length: o() }, () => a())
		});
		case W.List:
		case W.LargeList:
		case W.Map: return new c({
			...l,
			validity: a(),
			offsets: a(e.offsets),
			children: t.visit(e.children)
		});
		case W.ListView:
		case W.LargeListView: return new c({
			...l,
			validity: a(),
			offsets: a(e.offsets),
			sizes: a(e.offsets),
			children: t.visit(e.children)
		});
		case W.FixedSizeList:
		case W.Struct: return new c({
			...l,
			validity: a(),
			children: t.visit(e.children)
		});
		case W.RunEndEncoded: return new c({
			...l,
			children: t.visit(e.children)
		});
		case W.Dictionary: {
			let { id: n, indices: r } = e;
			return new c({
				...l,
				validity: a(),
				values: a(r.values)
			}).setDictionary(t.dictionary(n));
		}
		case W.Union: return s < Gi.V5 && a(), new c({
			...l,
			typeIds: a(ra),
			offsets: e.mode === Xi.Sparse ? null : a(e.offsets),
			children: t.visit(e.children)
		});
		default: throw Error(ma(n));
	}
}
new Uint16Array(new Uint8Array([1, 0]).buffer)[0];
// src/data/table.ts
var Ks = class {
	meta;
	n;
	arrow;
	metas;
	floats = /* @__PURE__ */ new Map();
	constructor(e, t) {
		this.meta = t, this.arrow = Bs(e), this.n = t.n, this.metas = new Map(t.columns.map((e) => [e.name, e]));
	}
	has(e) {
		return this.metas.has(e);
	}
	about(e) {
		return this.metas.get(e) ?? {
			name: e,
			kind: "number",
			unit: "",
			words: ""
		};
	}
	ofKind(e) {
		return this.meta.columns.filter((t) => t.kind === e);
	}
	column(e) {
		let t = this.arrow.getChild(e);
		if (!t) throw Error(`the page has no column ${e}: it has ${this.arrow.names.join(", ")}`);
		return t;
	}
	numbers(e) {
		let t = this.floats.get(e);
		if (!t) {
			let n = this.column(e).toArray();
			t = n instanceof Float32Array ? n : Float32Array.from(n, (e) => e === 65535 ? NaN : e), this.floats.set(e, t);
		}
		return t;
	}
	codes(e) {
		return this.column(e).toArray();
	}
	differences(e) {
		return this.column(e).toArray();
	}
	id(e) {
		return String(this.column("id").at(e));
	}
	cell(e, t, n) {
		let r = this.about(e);
		if (r.kind === "text") return String(this.column(e).at(t) ?? "");
		if (r.kind === "number") return n(this.numbers(e)[t]);
		let i = this.codes(e)[t];
		return i === 65535 ? "–" : r.names[i];
	}
}, qs = class {
	source;
	per;
	count;
	chunks = /* @__PURE__ */ new Map();
	constructor(e, t, n) {
		this.source = e, this.per = t, this.count = n;
	}
	async get(e) {
		return (await this.chunk(Math.floor(e / this.per)))[e % this.per];
	}
	async all() {
		return (await Promise.all(Array.from({ length: this.count }, (e, t) => this.chunk(t)))).flat();
	}
	chunk(e) {
		let t = this.chunks.get(e);
		return t || (t = this.source.texts(e), this.chunks.set(e, t)), t;
	}
}, Js = 65533, Ys = class {
	steps;
	x;
	y;
	constructor(e) {
		let { steps: t } = e.meta;
		this.steps = t.length, this.x = Zs(e, "leverage", 0), this.y = Zs(e, "error", 1);
	}
	at(e, t) {
		let [n, r, i] = this.between(e);
		return [Xs(this.x[n][t], this.x[r][t], i), Xs(this.y[n][t], this.y[r][t], i)];
	}
	fill(e, t, n) {
		let [r, i, a] = this.between(e);
		for (let e = 0; e < t.length; e++) t[e] = Xs(this.x[r][e], this.x[i][e], a), n[e] = Xs(this.y[r][e], this.y[i][e], a);
	}
	drift(e) {
		let [t, n, r] = this.between(e), { x: i, y: a } = this;
		return i[0].map((e, o) => {
			let s = Xs(i[t][o] + a[t][o], i[n][o] + a[n][o], r) - e - a[0][o];
			return Number.isFinite(s) ? s : NaN;
		});
	}
	between(e) {
		let t = Math.min(this.steps - 1, Math.floor(e));
		return [
			t,
			Math.min(this.steps - 1, t + 1),
			e - t
		];
	}
}, Xs = (e, t, n) => n === 0 ? e : e + (t - e) * n;
function Zs(e, t, n) {
	let r = new Uint16Array(e.n);
	return e.meta.steps.map((i, a) => {
		let o = e.differences(`${t}#${a}`), [s, c] = [i.low[n], i.high[n]], l = new Float32Array(e.n);
		for (let t = 0; t < e.n; t++) {
			r[t] += o[t];
			let e = r[t];
			l[t] = e === 0 ? -Infinity : e === 65535 ? NaN : s + (e - 1) / Js * (c - s);
		}
		return l;
	});
}
// src/state/store.ts
var Qs = 7e5, $s = class e {
	source;
	table;
	meta;
	n;
	models;
	trajectory;
	sheets;
	texts;
	drawn;
	undrawn;
	rank;
	product;
	byProduct;
	share;
	orders = /* @__PURE__ */ new Map();
	log = I([!0, !0]);
	color = I("sensitivity");
	marks = I("points");
	tool = I("pan");
	pins = I(!0);
	compare = I("off");
	tab = I("examples");
	theme = I("light");
	filters = I(Jr);
	sought = I(null);
	selection = I(/* @__PURE__ */ new Uint32Array());
	origin = I("");
	region = I([]);
	hover = I(-1);
	focus = I(-1);
	focusClass = I(-1);
	sort = I({
		key: "sensitivity",
		down: !0
	});
	threshold = I(0);
	time = I(0);
	playing = I(!1);
	said = I("");
	frame = I(null);
	shown = nt(() => Xr(this.table, this.drawn, this.filters.value, this.sought.value));
	count = nt(() => this.shown.value.reduce((e, t) => e + t, 0));
	chosen = nt(() => {
		let e = new Uint8Array(this.n);
		for (let t of this.selection.value) e[t] = 1;
		return e;
	});
	listed = nt(() => {
		let e = this.shown.value, t = this.selection.value.length ? this.chosen.value : null, { key: n, down: r } = this.sort.value;
		return this.orderBy(n, r).filter((n) => e[n] === 1 && (t === null || t[n] === 1));
	});
	constructor(e, t) {
		this.source = e, this.table = t, this.meta = e.meta, this.n = this.meta.n, this.log.value = this.meta.log, this.color.value = this.meta.color, this.marks.value = this.n > Qs ? "density" : "points", this.time.value = Math.max(0, this.meta.steps.length - 1), this.models = this.meta.models.map((e, t) => this.model(e, t));
		let [n] = this.models;
		this.trajectory = this.meta.steps.length > 1 ? new Ys(t) : null, this.sheets = this.meta.pictures ? new Ui(e, t.numbers("slot"), this.meta.pictures) : null, this.texts = this.meta.texts ? new qs(e, this.meta.texts.per, this.meta.texts.chunks) : null, this.drawn = Uint8Array.from(n.leverage, (e, t) => Number.isFinite(e) && Number.isFinite(n.error[t]) ? 1 : 0), this.undrawn = this.drawn.reduce((e, t) => e - t, this.n), this.rank = Tt(n.sensitivity), this.product = n.leverage.map((e, t) => e * n.error[t]), this.byProduct = Ct(this.product).filter((e) => this.drawn[e] === 1), this.share = this.shares(n), this.threshold.value = this.productOfTop(Math.max(1, Math.round(this.n / 100)));
	}
	static async open(t) {
		if (t.meta.version > 3) throw Error(`this page holds data of version ${t.meta.version} and reads up to 3: write it again`);
		return new e(t, new Ks(await t.table(), t.meta));
	}
	model(e, t) {
		let n = (e) => this.table.numbers(t ? `${e}@${t}` : e), r = n("sensitivity");
		return {
			name: e,
			leverage: n("leverage"),
			error: n("error"),
			sensitivity: r,
			order: Ct(r)
		};
	}
	shares(e) {
		let t = new Float64Array(this.n + 1);
		[...this.rank.keys()].sort((e, t) => this.rank[e] - this.rank[t]).forEach((n, r) => {
			t[r + 1] = t[r] + (Number.isFinite(e.sensitivity[n]) ? e.sensitivity[n] : 0);
		});
		let n = t[this.n];
		return n > 0 ? t.map((e) => e / n) : t;
	}
	orderBy(e, t) {
		let n = `${e} ${t}`, r = this.orders.get(n);
		return r || (r = this.ordered(e, t), this.orders.set(n, r)), r;
	}
	ordered(e, t) {
		let n = new Uint32Array(this.n).map((e, t) => t);
		if (e === "id" ? !this.meta.integers : this.table.about(e).kind === "text") {
			let r = Array.from(n, (t) => e === "id" ? this.table.id(t) : this.table.cell(e, t, String)), i = n.sort((e, t) => r[e] < r[t] ? -1 : r[e] > r[t] ? 1 : e - t);
			return t ? i.reverse() : i;
		}
		let r = e === "id" ? Float32Array.from(n, (e) => Number(this.table.id(e))) : this.sortable(e);
		return Ct(t ? r.map((e) => -e) : r);
	}
	sortable(e) {
		if (e !== "move") return this.table.numbers(e);
		let [t, n] = this.models;
		return t.sensitivity.map((e, t) => Math.abs(n.sensitivity[t] - e));
	}
	countAbove(e) {
		let [t, n] = [0, this.byProduct.length];
		for (; t < n;) {
			let r = t + n >> 1;
			this.product[this.byProduct[r]] < e ? t = r + 1 : n = r;
		}
		return this.byProduct.length - t;
	}
	productOfTop(e) {
		let t = this.byProduct.length;
		return t ? this.product[this.byProduct[Math.max(0, t - e)]] : 0;
	}
	select(e, t) {
		this.selection.value = Uint32Array.from(e).sort(), this.origin.value = t, this.said.value = e.length ? `${R(e.length)} examples selected, ${t}` : "selection cleared", e.length && (this.tab.value = "examples");
	}
	selectTop(e) {
		let t = this.orderBy("sensitivity", !0).slice(0, e);
		this.select(t, `the ${R(e)} most sensitive`);
	}
	async seek(e) {
		this.filters.value = {
			...this.filters.peek(),
			search: e
		};
		let t = e && !e.startsWith("=") && this.texts ? await this.texts.all() : null;
		this.filters.peek().search === e && (this.sought.value = $r(this.table, e, t));
	}
	toggleLog(e) {
		let [t, n] = this.log.peek();
		this.frame.value = null, this.log.value = e === 0 ? [!t, n] : [t, !n];
	}
	clear() {
		this.select([], ""), this.region.value = [], this.hover.value = -1, this.focus.value = -1;
	}
	step(e) {
		let t = this.listed.peek();
		if (!t.length) return;
		let n = t.indexOf(this.focus.peek()), r = n < 0 ? e > 0 ? 0 : t.length - 1 : Math.min(t.length - 1, Math.max(0, n + e));
		this.focus.value = t[r], this.said.value = this.describe(t[r]);
	}
	wrong(e) {
		return this.meta.classification && this.table.codes("target")[e] !== this.table.codes("prediction")[e];
	}
	cell(e, t) {
		return e === "id" ? this.table.id(t) : this.table.cell(e, t, Mt);
	}
	describe(e) {
		let t = [
			"target",
			"prediction",
			"leverage",
			"error",
			"sensitivity"
		].map((t) => `${t} ${this.cell(t, e)}`);
		return `Example ${this.table.id(e)}, rank ${R(this.rank[e] + 1)} of ${R(this.n)}, ${t.join(", ")}`;
	}
	warningsOf(e) {
		let t = this.table.numbers("warning")[e];
		return Object.entries(this.meta.warnings).flatMap(([e, n]) => t & Number(e) ? [n] : []);
	}
	shade(e) {
		let t = this.table.numbers(e), n = t.filter((e) => e > 0), [r, i] = [Nt(n, .02), Nt(n, .999)], a = n.length > .9 * t.length && i > 30 * r;
		a || ([r, i] = [Nt(t, .005), Nt(t, .995)]);
		let o = (e) => a ? Math.log(e / r) / Math.log(i / r) : (e - r) / (i - r || 1);
		return {
			codes: Uint8Array.from(t, (e) => 255 * Math.min(1, Math.max(0, o(e)))),
			low: r,
			high: i
		};
	}
};
// src/mount.tsx
async function ec(e, t) {
	let n = await $s.open(t), r = [];
	n.theme.value = Ht(), j(/* @__PURE__ */ U(Ai, {
		store: n,
		views: r
	}), e);
	let i = t.permalinks ? Vi(n) : () => {};
	return {
		store: n,
		views: r,
		unmount: () => {
			i(), j(null, e);
		}
	};
}
function tc(e, t) {
	let n = document.createElement("p");
	n.className = "mm-refused", n.textContent = `This map cannot be shown: ${t instanceof Error ? t.message : String(t)}`, e.replaceChildren(n);
}
// src/widget.tsx
var nc = (e) => new Uint8Array(e.buffer, e.byteOffset, e.byteLength).slice();
function rc(e) {
	let t = /* @__PURE__ */ new Map(), n = (e, n) => {
		t.get(e.part)?.(nc(n[0])), t.delete(e.part);
	};
	e.on("msg:custom", n);
	let r = (n) => new Promise((r) => {
		t.set(n, r), e.send({ want: n });
	}), i = JSON.parse(e.get("_meta"));
	return {
		source: {
			meta: i,
			permalinks: !1,
			table: () => xt(nc(e.get("_table"))),
			sheet: async (e) => new Blob([await r(`sheet/${e}`)], { type: i.pictures?.mime }),
			texts: async (e) => St(await r(`texts/${e}`))
		},
		stop: () => e.off("msg:custom", n)
	};
}
async function ic({ model: e, el: t }) {
	let n = document.createElement("div");
	n.className = "mm-host", n.style.height = `${e.get("height")}px`, t.append(n);
	let { source: r, stop: i } = rc(e);
	try {
		let { store: t, unmount: a } = await ec(n, r), o = () => JSON.stringify(e.get("_rows")), s = () => {
			let n = e.get("_rows");
			JSON.stringify([...t.selection.peek()]) !== JSON.stringify(n) && t.select(n, "by Python");
		};
		s();
		let c = st(() => {
			let n = [...t.selection.value];
			JSON.stringify(n) !== o() && (e.set("_rows", n), e.save_changes());
		});
		return e.on("change:_rows", s), () => {
			c(), e.off("change:_rows", s), i(), a();
		};
	} catch (e) {
		return tc(n, e), i;
	}
}
var ac = { render: ic };
export { ac as default };
