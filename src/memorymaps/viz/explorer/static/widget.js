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
function ee(t) {
	var n, r = t.__v, i = r.__e, a = [], o = [], s = t.__P;
	s && ((n = _({ constructor: d }, r)).__v = r.__v + 1, e.vnode && e.vnode(n), se(s, n, r, t.__n, s.namespaceURI, 32 & r.__u ? [i] : null, a, i || C(r), 32 & r.__u, o), n.__v = r.__v, n.__.__k[n.__i] = n, O(a, n, o), r.__ = r.__e = null, n.__e != i && w(n));
}
function w(e) {
	if ((e = e.__) && e.__c && !e.props.__P) return e.__e = null, e.__k.some(function(t) {
		return t && (e.__e = t.__e);
	}), w(e);
}
function T(t) {
	(8 & t.__g || (t.__g |= 8, r.push(t), a++)) && i == e.debounceRendering || ((i = e.debounceRendering) || queueMicrotask)(E);
}
function E() {
	try {
		for (var e, t = 1; r.length;) r.length > t && r.sort(o), e = r.shift(), t = r.length, 8 & e.__g && ee(e);
	} finally {
		(a = r.length) && (i || queueMicrotask)(E);
	}
}
function te(e, t, n, r, i, a, o, s, c, l, u) {
	var d, m, h, g, _, v, y = r.__k || p, b = t.length;
	for (c = ne(n, t, y, c, b), d = 0; d < b; d++) (h = n.__k[d]) != null && (m = ~h.__i && y[h.__i] || f, h.__i = d, v = se(e, h, m, i, a, o, s, c, l, u), g = h.__e, (m.ref != h.ref || 8 & m.__u) && (m.ref && k(m.ref, null, h, m), h.ref && u.push(h.ref, h.__c || g, h)), _ ||= g, 4 & h.__u ? (c = D(h, c, e, !m.__v), m.__e && (m.__e = null)) : typeof h.type == "function" && v !== void 0 ? c = v : g && (c = g.nextSibling), h.__u &= -21);
	return n.__e = _, c;
}
function ne(e, t, n, r, i) {
	var a, o, s, c, l, u, f, p, m, g = n.length, _ = g, v = 0, y = 0, S = e.__k = Array(i);
	for (a = 0; a < i; a++) (o = t[a]) != null && typeof o != "boolean" && typeof o != "function" ? (typeof o != "object" || o.constructor === String ? o = S[a] = b(null, o) : h(o) ? o = S[a] = b(x, { children: o }) : o.constructor === d && o.__b ? o = S[a] = b(o.type, o.props, o.key, o.ref, o.__v) : S[a] = o, c = a + v, o.__ = e, o.__b = e.__b + 1, s = null, ~(l = o.__i = re(o, n, c, _)) && (_--, (s = n[l]) && (s.__u |= 2)), s && s.__v ? (o.__u |= 16, l == c - 1 ? v-- : l == c + 1 ? v++ : l != c && (l > c ? v-- : v++, y = 1)) : (~l || (i > g ? v-- : i < g && v++), typeof o.type != "function" && (o.__u |= 4))) : S[a] = null;
	if (y) {
		for (u = [], f = [], a = 0; a < i; a++) if ((o = S[a]) && 16 & o.__u) {
			for (v = 0, p = u.length; v < p;) u[m = v + p >> 1] < o.__i ? v = m + 1 : p = m;
			u[v] = o.__i, f[a] = v + 1;
		}
		for (v = u.length; a--;) f[a] && (f[a] == v ? v-- : S[a].__u |= 4);
	}
	if (_) for (a = 0; a < g; a++) !(s = n[a]) || 2 & s.__u || (s.__e == r && (r = C(s)), de(s, s));
	return r;
}
function D(e, t, n, r) {
	var i, a, o, s;
	if (typeof e.type == "function") {
		if (e.props.__P) return t;
		if (i = e.__k) for (a = 0; a < i.length; a++) i[a] && (i[a].__ = e, t = D(i[a], t, n, !1));
		return t;
	}
	for (t && !t.parentNode && (t = C(e)) && !t.parentNode && (t = null), o = e.__e, s = t; s && s.nodeType == 8;) s = s.nextSibling;
	for (o != s && (!r && n.moveBefore && o.parentNode ? n.moveBefore(o, t) : n.insertBefore(o, t || null)), t = o; (t &&= t.nextSibling) && t.nodeType == 8 && !t.data.startsWith("$s"););
	return t;
}
function re(e, t, n, r) {
	var i, a = e.key, o = e.type, s = t[n], c = s && !(2 & s.__u);
	if (s === null && a == null || c && a == s.key && o == s.type) return n;
	if (r > +!!c) {
		for (i = n - 1; i >= 0; i--) if ((s = t[i]) && !(2 & s.__u) && a == s.key && o == s.type) return i;
		for (i = n + 1; i < t.length; i++) if ((s = t[i]) && !(2 & s.__u) && a == s.key && o == s.type) return i;
	}
	return -1;
}
function ie(e, t, n) {
	n ??= "", t[0] == "-" ? e.setProperty(t, n) : e[t] = n;
}
function ae(e, t, n, r, i) {
	var a, o;
	if (t == "style") {
		if (typeof n == "string") e.style.cssText = n;
		else {
			if (typeof r == "string" && (e.style.cssText = r = ""), r) for (t in r) n && t in n || ie(e.style, t);
			if (n) for (t in n) r && n[t] == r[t] || ie(e.style, t, n[t]);
		}
	} else if (t[0] == "o" && t[1] == "n") typeof n != "function" && (n = null), typeof r != "function" && (r = null), (e.__e ||= {})[t] = n, n && r || (o = u[t] || (u[t] = oe(t)), (e.__a ||= {})[t] = l, a = t != (t = t.replace(c, "$1")), (t = t.slice(2))[0] < "a" && (t = t.toLowerCase()), n ? e.addEventListener(t, o, a) : e.removeEventListener(t, o, a));
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
function oe(t) {
	return function(n) {
		var r = this.__e;
		if (r) {
			if (r = r[t], n[s] == null) n[s] = l++;
			else if (n[s] < this.__a[t]) return;
			return r(e.event ? e.event(n) : n);
		}
	};
}
function se(t, n, r, i, a, o, s, c, l, u) {
	var f, m, g, y, b, ee, w, T, E, ne, D, re, ie, ae, oe, se, O, k, A = n.type;
	if (n.constructor !== d) return null;
	128 & r.__u && (l = 32 & r.__u, f = r.__c.__z) && (n.__u |= l, m = o = [], f.nodeType == 8 ? c = ce(f, o) : o.push(f), c = o[0] || c), (f = e.__b) && f(n);
	n: if (typeof A == "function") {
		g = s.length;
		try {
			if (T = n.props, E = (f = A.prototype) && f.render, ne = (f = A.contextType) && i[f.__c], D = f ? ne ? ne.props.value : f.__ : i, (y = r.__c) ? (n.__c = y, 2 & y.__g && (y.__g |= 1)) : (E ? n.__c = y = new A(T, D) : (n.__c = y = new S(T, D), y.constructor = A, y.render = fe), ne && ne.sub(y), y.state || (y.state = {}), y.__n = i, y.__g |= 8, y.__h = [], y.__k = []), E && (y.__s || (y.__s = y.state), A.getDerivedStateFromProps && (y.__s == y.state && (y.__s = _({}, y.__s)), _(y.__s, A.getDerivedStateFromProps(T, y.__s)))), b = y.props, ee = y.state, y.__v = n, r.__c) {
				if (T !== b && E && !A.getDerivedStateFromProps && y.componentWillReceiveProps && y.componentWillReceiveProps(T, D), n.__v == r.__v && !(8 & y.__g) || !(4 & y.__g) && y.shouldComponentUpdate && !1 === y.shouldComponentUpdate(T, y.__s, D)) {
					n.__v != r.__v && (y.props = T, y.state = y.__s, y.__g &= -9), n.__e = r.__e, n.__k = r.__k, n.__k.some(function(e) {
						e && (e.__ = n);
					}), p.push.apply(y.__h, y.__k), y.__k = [], y.__h.length && s.push(y), c = C(r);
					break n;
				}
				y.componentWillUpdate && y.componentWillUpdate(T, y.__s, D), E && y.componentDidUpdate && y.__h.push(function() {
					y.componentDidUpdate(b, ee, w);
				});
			} else E && !A.getDerivedStateFromProps && y.componentWillMount && y.componentWillMount(), E && y.componentDidMount && y.__h.push(y.componentDidMount);
			y.context = D, y.props = T, y.__P = t, y.__g &= -5, re = e.__r, ie = E ? 25 : 0;
			do
				y.__g &= -9, re && re(n), f = y.render(y.props, y.state = y.__s, y.context);
			while (8 & y.__g && ++ie < 25);
			E && (p.push.apply(y.__h, y.__k), y.__k = []), y.state = y.__s, y.getChildContext && (i = _({}, i, y.getChildContext())), E && r.__c && y.getSnapshotBeforeUpdate && (w = y.getSnapshotBeforeUpdate(b, ee)), ae = f && f.type === x && f.key == null ? f.props.children : f, T.__P && (f = c, a = (t = T.__P).namespaceURI, l = o = null, r.props && r.props.__P != t && (r.__k.some(function(e) {
				e && de(e, e);
			}), r.__k = null), c = r.__k ? C(r, 0) : null), c = te(t, h(ae) ? ae : [ae], n, r, i, a, o, s, c, l, u), T.__P && (n.__e = null, c = f), n.__u &= -161, m && m.some(v), y.__h.length && s.push(y), 1 & y.__g && (y.__g &= -4);
		} catch (t) {
			if (s.length = g, n.__v = null, l || o) {
				if (t && t.then) {
					if (n.__u |= 128 | l, o) {
						for (~(O = o.indexOf(c || void 0)) || (O = o.length); (k = o[O - 1]) && k.nodeType == 8;) O--;
						for (; O < o.length; O++) if (k = o[O]) {
							if (o[O] = null, oe) {
								if (k == se) break;
							} else {
								if (k.nodeType != 8) break;
								k.data.startsWith("$s") && (se = ce(oe = k));
							}
						}
					}
					if (!oe) {
						for (; c && c.nodeType == 8 && c.nextSibling;) c = c.nextSibling;
						oe = c;
					}
					(f = ce(oe = n.__c.__z || (n.__c.__z = oe))) ? (n.__e = oe, c = f) : n.__e = c, c &&= c.nextSibling;
				} else o && o.some(v);
			} else n.__e = r.__e;
			n.__k ||= r.__k || [], t && t.then || le(n), e.__e(t, n, r);
		}
	} else c = n.__e = ue(r.__e, n, r, i, a, o, s, l, u, t);
	return (f = e.diffed) && f(n), c;
}
function ce(e, t) {
	if (e && e.nodeType == 8 && e.data.startsWith("$s")) for (var n = 1; e = e.nextSibling;) {
		if (e.nodeType == 8) {
			if (e.data.startsWith("$s")) n++;
			else if (e.data.startsWith("/$s") && !--n) return e;
		}
		t && t.push(e);
	}
}
function le(e) {
	e && (e.__c && (e.__c.__g |= 4), e.__k && e.__k.some(le));
}
function O(t, n, r) {
	for (var i = 0; i < r.length;) k(r[i++], r[i++], r[i++]);
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
function ue(t, n, r, i, a, o, s, c, l, u) {
	var d, p, _, y, b, x, S, ee, w = r.props || f, T = n.props, E = n.type;
	if (E == "svg" ? a = "http://www.w3.org/2000/svg" : E == "math" ? a = "http://www.w3.org/1998/Math/MathML" : a ||= "http://www.w3.org/1999/xhtml", o) {
		for (d = 0; d < o.length; d++) if ((b = o[d]) && (E ? b.localName == E : b.nodeType == 3)) {
			t = b, o[d] = null;
			break;
		}
	}
	if (!t) {
		if (ee = u.ownerDocument || document, !E) return ee.createTextNode(T);
		t = ee.createElementNS(a, E, T.is ? T : u), c &&= (e.__m && e.__m(n, o), !1), o = null;
	}
	if (E) {
		if (u = E == "template" && t.content || t, o = E == "textarea" && T.defaultValue != null ? null : o && g.call(u.childNodes), !c && o) for (w = {}, d = 0; d < t.attributes.length; d++) w[(b = t.attributes[d]).name] = b.value;
		for (d in w) b = w[d], d == "dangerouslySetInnerHTML" ? _ = b : d == "children" || d in T || d == "value" && "defaultValue" in T || d == "checked" && "defaultChecked" in T || ae(t, d, null, b, a);
		for (d in T) b = T[d], d == "children" ? y = b : d == "dangerouslySetInnerHTML" ? p = b : d == "value" ? x = b : d == "checked" ? S = b : c && typeof b != "function" || w[d] === b || ae(t, d, b, w[d], a);
		p ? (c || _ && (p.__html == _.__html || p.__html == t.innerHTML) || (t.innerHTML = p.__html), n.__k = []) : (_ && (t.textContent = ""), (E == "foreignObject" || a == "http://www.w3.org/1998/Math/MathML" && m.test(E)) && (a = "http://www.w3.org/1999/xhtml"), te(u, h(y) ? y : [y], n, r, i, a, o, s, o ? o[0] : r.__k && C(r, 0), c, l), o && o.some(v)), c && E != "textarea" || (d = "value", E == "progress" && x == null ? t.removeAttribute(d) : x == null || x === t[d] && (E != "progress" || x) || ae(t, d, x, w[d], a), d = "checked", S != null && S != t[d] && ae(t, d, S, w[d], a));
	} else w === T || c && t.data == T || (t.data = T);
	return t;
}
function k(t, n, r, i) {
	try {
		typeof t == "function" ? n ? n.__x = t(n) || 1 : (i &&= i.__c || i.__e) && (n = i.__x) && (i.__x = null, typeof n == "function" ? n() : t(null)) : t.current = n;
	} catch (t) {
		e.__e(t, r);
	}
}
function de(t, n, r) {
	var i, a, o, s;
	if (e.unmount && e.unmount(t), !(i = t.ref) || i.current && i.current != t.__e || k(i, null, n, t), i = t.__c) {
		if (i.componentWillUnmount) try {
			i.componentWillUnmount();
		} catch (t) {
			e.__e(t, n);
		}
		i.__P = i.__n = null;
	}
	if (i = t.__k) for (s = 0; s < i.length; s++) i[s] && de(i[s], n, typeof t.type != "function" || r && !t.props.__P);
	!r && (i = t.__c) && (i = i.__z) && (a = ce(i, o = [])) && (i == t.__e && o.some(v), v(a), v(i)), r || v(t.__e), t.__e = t.__c = t.__ = null;
}
function fe(e, t, n) {
	return this.constructor(e, n);
}
function A(t, n) {
	var r, i, a, o;
	e.__ && e.__(t, n), n.nodeType == 9 && (n = n.documentElement), i = (r = t && 32 & t.__u) ? null : n.__k, n.__k = b(x, { children: [t] }), a = [], o = [], se(n, n.__k, i || f, f, n.namespaceURI, i ? null : n.firstChild ? g.call(n.childNodes) : null, a, i ? i.__e : n.firstChild, r, o), O(a, n.__k, o), n.__k.props.children = null;
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
	n && n != this.state || (n = this.__s = _({}, this.state)), typeof e == "function" && (e = e(_({}, n), this.props)), e && (_(n, e), this.__v && (t && this.__k.push(t), T(this)));
}, S.prototype.forceUpdate = function(e) {
	this.__v && (this.__g |= 4, e && this.__h.push(e), T(this));
}, S.prototype.render = x, r = [], a = 0, o = function(e, t) {
	return e.__v.__b - t.__v.__b;
}, s = Symbol(), c = /(PointerCapture)$|Capture$/i, l = 0, u = {};
// node_modules/preact/hooks/dist/hooks.mjs
var pe, j, me, he, ge = Object.is, _e = 0, ve = [], ye = [], M = e, be = M.__b, xe = M.__r, Se = M.diffed, Ce = M.__c, we = M.unmount, Te = M.__;
function Ee(e, t) {
	M.__h && M.__h(j, e, _e || t), _e = 0;
	var n = j.__H || (j.__H = {
		__: [],
		__h: []
	});
	return e >= n.__.length && n.__.push({}), n.__[e];
}
function De(e) {
	return _e = 1, Oe(ze, e);
}
function Oe(e, t, n) {
	var r = Ee(pe++, 2);
	if (r.t = e, !r.__c && (r.__ = [n ? n(t) : ze(void 0, t), function(e) {
		var t = (r.__N || r.__)[0], n = r.t(t, e);
		ge(t, n) || (r.__N = [n, r.__[1]], r.__c.setState({}));
	}], r.__c = j, !j.__f)) {
		j.__f = !0;
		var i = j.shouldComponentUpdate;
		j.shouldComponentUpdate = function(e, t, n) {
			var r = this.__H;
			if (!r) return !0;
			var a = !1, o = this.props != e;
			if (r.__.some(function(e) {
				e.__N && (a = !0, ge(e.__[0], e.__N[0]) || (o = !0));
			}), i) {
				var s = i.call(this, e, t, n);
				return a ? s || o : s;
			}
			return !a || o;
		};
	}
	return r.__;
}
function ke(e, t) {
	var n = Ee(pe++, 3);
	!M.__s && Re(n.__H, t) && (n.__P = !0, n.__ = e, n.u = t, j.__H.__h.push(n));
}
function Ae(e) {
	return _e = 5, je(function() {
		return { current: e };
	}, []);
}
function je(e, t) {
	var n = Ee(pe++, 7);
	return Re(n.__H, t) && (n.__ = e(), n.__H = t), n.__;
}
function Me() {
	var e;
	do {
		for (; e = ye.shift();) try {
			Ie(e);
		} catch (t) {
			M.__e(t, { __: (e = e.__P) && e.__v });
		}
		for (; e = ve.shift();) {
			var t = e.__H;
			if (e.__P && t) try {
				t.__h.some(Ie), t.__h.some(Le), t.__h = [];
			} catch (n) {
				t.__h = [], M.__e(n, e.__v);
			}
		}
	} while (ye.length);
}
M.__b = function(e) {
	j = null, be && be(e);
}, M.__ = function(e, t) {
	e && t.__k && t.__k.__m && (e.__m = t.__k.__m), Te && Te(e, t);
}, M.__r = function(e) {
	xe && xe(e), pe = 0;
	var t = (j = e.__c).__H;
	t && (me == j ? j.__h = [] : (t.__h.some(Ie), t.__h.some(Le), pe = 0), t.__h = [], t.__.some(function(e) {
		e.__N && (e.__ = e.__N), e.u = e.__N = void 0;
	})), me = j;
}, M.diffed = function(e) {
	Se && Se(e);
	var t = e.__c;
	t && t.__H && (t.__H.__h.length && Fe(ve.push(t)), t.__H.__.some(function(e) {
		e.u && (e.__H = e.u);
	})), me = j = null;
}, M.__c = function(e, t) {
	t.some(function(e) {
		try {
			e.__h.some(Ie), e.__h = e.__h.filter(function(e) {
				return !e.__ || Le(e);
			});
		} catch (t) {
			e.__h = [function() {
				throw t;
			}];
		}
	}), Ce && Ce(e, t);
}, M.unmount = function(e) {
	we && we(e);
	var t, n, r = e.__c;
	r && r.__H && (r.__H.__.some(function(r) {
		try {
			if (r.__P && r.__c) {
				if (n === void 0) {
					for (n = e.__; n && (!n.__c || !n.__c.__P);) n = n.__;
					n &&= n.__c;
				}
				r.__P = n, Fe(ye.push(r));
			} else Ie(r);
		} catch (e) {
			t = e;
		}
	}), r.__H = void 0, t && M.__e(t, r.__v));
};
var Ne = typeof requestAnimationFrame == "function";
function Pe(e) {
	var t, n = function() {
		clearTimeout(r), Ne && cancelAnimationFrame(t), setTimeout(e);
	}, r = setTimeout(n, 35);
	Ne && (t = requestAnimationFrame(n));
}
function Fe(e) {
	e != 1 && he == M.requestAnimationFrame || ((he = M.requestAnimationFrame) || Pe)(Me);
}
function Ie(e) {
	var t = j, n = e.__c;
	typeof n == "function" && (e.__c = void 0, n()), j = t;
}
function Le(e) {
	var t = j;
	e.__c = e.__(), j = t;
}
function Re(e, t) {
	return !e || e.length != t.length || t.some(function(t, n) {
		return !ge(t, e[n]);
	});
}
function ze(e, t) {
	return typeof t == "function" ? t(e) : t;
}
// node_modules/@preact/signals-core/dist/signals-core.module.js
var Be = Symbol.for("preact-signals");
function Ve() {
	if (Ke > 1) Ke--;
	else {
		var e, t = !1;
		for ((function() {
			var e = Xe;
			for (Xe = void 0; e !== void 0;) {
				var t = e.S;
				if (t.v === e.v) for (var n = t.t; n !== void 0; n = n.x) n.i === e.i && (n.i = t.i);
				e = e.o;
			}
		})(); Ge !== void 0;) {
			var n = Ge;
			for (Ge = void 0, qe++; n !== void 0;) {
				var r = n.u;
				if (n.u = void 0, n.f &= -3, !(8 & n.f) && $e(n)) try {
					n.c();
				} catch (n) {
					t ||= (e = n, !0);
				}
				n = r;
			}
		}
		if (qe = 0, Ke--, t) throw e;
	}
}
function He(e) {
	if (Ke > 0) return e();
	Ye = ++Je, Ke++;
	try {
		return e();
	} finally {
		Ve();
	}
}
var Ue, N = void 0;
function We(e) {
	var t = N, n = Ue;
	N = void 0, Ue = void 0;
	try {
		return e();
	} finally {
		N = t, Ue = n;
	}
}
var Ge = void 0, Ke = 0, qe = 0, Je = 0, Ye = 0, Xe = void 0, Ze = 0;
function Qe(e) {
	if (N !== void 0) {
		var t = e.n;
		if (t === void 0 || t.t !== N) return t = {
			i: 0,
			S: e,
			p: N.s,
			n: void 0,
			t: N,
			e: void 0,
			x: void 0,
			r: t
		}, N.s !== void 0 && (N.s.n = t), N.s = t, e.n = t, 32 & N.f && e.S(t), t;
		if (t.i === -1) return t.i = 0, t.n !== void 0 && (t.n.p = t.p, t.p !== void 0 && (t.p.n = t.n), t.p = N.s, t.n = void 0, N.s.n = t, N.s = t), t;
	}
}
function P(e, t) {
	this.v = e, this.i = 0, this.n = void 0, this.t = void 0, this.l = 0, this.W = t?.watched, this.Z = t?.unwatched, this.name = t?.name;
}
P.prototype.brand = Be, P.prototype.h = function() {
	return !0;
}, P.prototype.S = function(e) {
	var t = this, n = this.t;
	n !== e && e.e === void 0 && (e.x = n, this.t = e, n === void 0 ? We(function() {
		var e;
		(e = t.W) == null || e.call(t);
	}) : n.e = e);
}, P.prototype.U = function(e) {
	var t = this;
	if (this.t !== void 0) {
		var n = e.e, r = e.x;
		n !== void 0 && (n.x = r, e.e = void 0), r !== void 0 && (r.e = n, e.x = void 0), e === this.t && (this.t = r, r === void 0 && We(function() {
			var e;
			(e = t.Z) == null || e.call(t);
		}));
	}
}, P.prototype.subscribe = function(e) {
	var t = this;
	return st(function() {
		var n = t.value;
		We(function() {
			return e(n);
		});
	}, { name: "sub" });
}, P.prototype.valueOf = function() {
	return this.value;
}, P.prototype.toString = function() {
	return this.value + "";
}, P.prototype.toJSON = function() {
	return this.value;
}, P.prototype.peek = function() {
	var e = this;
	return We(function() {
		return e.value;
	});
}, Object.defineProperty(P.prototype, "value", {
	get: function() {
		var e = Qe(this);
		return e !== void 0 && (e.i = this.i), this.v;
	},
	set: function(e) {
		if (e !== this.v) {
			if (qe > 100) throw Error("Cycle detected");
			(function(e) {
				Ke !== 0 && qe === 0 && e.l !== Ye && (e.l = Ye, Xe = {
					S: e,
					v: e.v,
					i: e.i,
					o: Xe
				});
			})(this), this.v = e, this.i++, Ze++, Ke++;
			try {
				for (var t = this.t; t !== void 0; t = t.x) t.t.N();
			} finally {
				Ve();
			}
		}
	}
});
function F(e, t) {
	return new P(e, t);
}
function $e(e) {
	for (var t = e.s; t !== void 0; t = t.n) if (t.S.i !== t.i || !t.S.h() || t.S.i !== t.i) return !0;
	return !1;
}
function et(e) {
	for (var t = e.s; t !== void 0; t = t.n) {
		var n = t.S.n;
		if (n !== void 0 && (t.r = n), t.S.n = t, t.i = -1, t.n === void 0) {
			e.s = t;
			break;
		}
	}
}
function tt(e) {
	for (var t = e.s, n = void 0; t !== void 0;) {
		var r = t.p;
		t.i === -1 ? (t.S.U(t), r !== void 0 && (r.n = t.n), t.n !== void 0 && (t.n.p = r)) : n = t, t.S.n = t.r, t.r !== void 0 && (t.r = void 0), t = r;
	}
	e.s = n;
}
function nt(e, t) {
	P.call(this, void 0, t), this.x = e, this.s = void 0, this.g = Ze - 1, this.f = 4;
}
nt.prototype = new P(), nt.prototype.h = function() {
	if (this.f &= -3, 1 & this.f) return !1;
	if ((36 & this.f) == 32 || (this.f &= -5, this.g === Ze)) return !0;
	if (this.g = Ze, this.f |= 1, this.i > 0 && !$e(this)) return this.f &= -2, !0;
	var e = N;
	try {
		et(this), N = this;
		var t = this.x();
		(16 & this.f || this.v !== t || this.i === 0) && (this.v = t, this.f &= -17, this.i++);
	} catch (e) {
		this.v = e, this.f |= 16, this.i++;
	}
	return N = e, tt(this), this.f &= -2, !0;
}, nt.prototype.S = function(e) {
	if (this.t === void 0) {
		this.f |= 36;
		for (var t = this.s; t !== void 0; t = t.n) t.S.S(t);
	}
	P.prototype.S.call(this, e);
}, nt.prototype.U = function(e) {
	if (this.t !== void 0 && (P.prototype.U.call(this, e), this.t === void 0)) {
		this.f &= -33;
		for (var t = this.s; t !== void 0; t = t.n) t.S.U(t);
	}
}, nt.prototype.N = function() {
	if (!(2 & this.f)) {
		this.f |= 6;
		for (var e = this.t; e !== void 0; e = e.x) e.t.N();
	}
}, Object.defineProperty(nt.prototype, "value", { get: function() {
	if (1 & this.f) throw Error("Cycle detected");
	var e = Qe(this);
	if (this.h(), e !== void 0 && (e.i = this.i), 16 & this.f) throw this.v;
	return this.v;
} });
function I(e, t) {
	return new nt(e, t);
}
function rt(e) {
	var t = e.j;
	if (e.j = void 0, typeof t == "function") {
		Ke++;
		var n = N;
		N = void 0;
		try {
			t();
		} catch (t) {
			throw e.f &= -2, e.f |= 8, it(e), t;
		} finally {
			N = n, Ve();
		}
	}
}
function it(e) {
	for (var t = e.s; t !== void 0; t = t.n) t.S.U(t);
	e.x = void 0, e.s = void 0, rt(e);
}
function at(e) {
	if (N !== this) throw Error("Out-of-order effect");
	tt(this), N = e, this.f &= -2;
	try {
		8 & this.f && it(this);
	} finally {
		Ve();
	}
}
function ot(e, t) {
	this.x = e, this.j = void 0, this.s = void 0, this.u = void 0, this.f = 32, this.name = t?.name, Ue && Ue.push(this);
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
	this.f |= 1, this.f &= -9, rt(this), et(this), Ke++;
	var e = N;
	return N = this, at.bind(this, e);
}, ot.prototype.N = function() {
	2 & this.f || (this.f |= 2, this.u = Ge, Ge = this);
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
	var a = je(function() {
		for (var e = t, r = t.__v; r = r.__;) if (r.__c) {
			r.__c.__$f |= 4;
			break;
		}
		var a = I(function() {
			var e = i.value.value;
			return e === 0 ? 0 : !0 === e ? "" : e || "";
		}), o = I(function() {
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
mt.displayName = "ReactiveTextNode", Object.defineProperties(P.prototype, {
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
			a instanceof P && (n || (t.__np = n = {}), n[i] = a, r[i] = a.peek());
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
	var i = t in e && e.ownerSVGElement === void 0, a = F(n);
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
	return je(function() {
		return F(e, t);
	}, []);
}
var _t = function(e) {
	queueMicrotask(function() {
		queueMicrotask(e);
	});
};
function vt() {
	He(function() {
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
// src/state/scores.ts
var Pt = {
	cavity: "leverage × error / (1 − leverage)",
	product: "leverage × error"
};
function Ft(e, t, n) {
	return e === "product" ? t * n : t < 1 ? t * n / (1 - t) : t >= 1 ? Infinity : NaN;
}
function It(e, t, n) {
	return e === "product" ? n / t : t < 1 ? n * (1 - t) / t : NaN;
}
var Lt = class {
	values;
	ascending;
	constructor(e, t, n) {
		this.values = t.map((t, r) => Ft(e, t, n[r])), this.ascending = this.values.filter((e) => !Number.isNaN(e)).sort();
	}
	countAbove(e) {
		let [t, n] = [0, this.ascending.length];
		for (; t < n;) {
			let r = t + n >> 1;
			this.ascending[r] < e ? t = r + 1 : n = r;
		}
		return this.ascending.length - t;
	}
	cutOfTop(e) {
		let t = this.ascending.length;
		return t ? this.ascending[Math.min(t - 1, Math.max(0, t - e))] : 0;
	}
};
// src/map/gestures.ts
function Rt(e) {
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
		a ? (Math.hypot(r.offsetX - a.x, r.offsetY - a.y) > 3 && (a.moved = !0), a.moved && zt(e, a, r.offsetX, r.offsetY)) : (t.hover.value = s(r), n.style.cursor = o(r) ? "grab" : t.hover.peek() >= 0 ? "pointer" : t.tool.peek() === "pan" ? "default" : "crosshair");
	}, { signal: i }), n.addEventListener("pointerup", (t) => {
		let n = a;
		a = null, n && (n.moved ? Vt(e, n) : Ht(e, s(t), n.add), e.lasso = [], e.changed("hover"));
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
function zt(e, t, n, r) {
	let { frame: i, store: a } = e;
	t.mode === "pan" ? e.show(i.shifted(t.domain, n - t.x, r - t.y)) : t.mode === "threshold" ? a.top.value = Math.max(1, a.scores(e.k).countAbove(Bt(e, n, r))) : t.mode === "box" ? e.lasso = [
		[t.x, t.y],
		[n, t.y],
		[n, r],
		[t.x, r]
	] : e.lasso.push([n, r]), e.changed("hover");
}
function Bt(e, t, n) {
	let [r, i] = e.frame.back(t, n), [a, o] = e.store.log.peek();
	return Math.max(0, Ft(e.store.meta.iso, a ? 10 ** r : r, o ? 10 ** i : i));
}
function Vt(e, t) {
	let { store: n, frame: r } = e;
	if (t.mode === "pan") return;
	if (t.mode === "threshold") {
		let t = n.scores(e.k), r = t.cutOfTop(n.top.peek()), i = n.shown.peek(), a = [...t.values.keys()].filter((e) => i[e] && t.values[e] >= r);
		n.select(a, `${Pt[n.meta.iso]} ≥ ${L(r)}`);
		return;
	}
	let i = e.lasso.map(([e, t]) => r.back(e, t)), a = e.within((e, t) => Et(e, t, i)), [o, s] = n.log.peek();
	n.region.value = i.map(([e, t]) => [o ? 10 ** e : e, s ? 10 ** t : t]), n.select(t.add ? [.../* @__PURE__ */ new Set([...n.selection.peek(), ...a])] : a, `inside the ${t.mode}`);
}
function Ht(e, t, n) {
	let { store: r } = e;
	t < 0 ? n || r.clear() : (r.focus.value = t, n && r.select([.../* @__PURE__ */ new Set([...r.selection.peek(), t])], "picked one by one"));
}
function Ut(e, t) {
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
var Wt = (e) => [
	1,
	3,
	5
].map((t) => Number.parseInt(e.slice(t, t + 2), 16));
function Gt(e) {
	let t = /* @__PURE__ */ new Uint8Array(768);
	for (let n = 0; n < 256; n++) {
		let r = n / 255, i = 0;
		for (; i < e.length - 2 && r > e[i + 1][0];) i++;
		let a = (r - e[i][0]) / (e[i + 1][0] - e[i][0]), [o, s] = [Wt(e[i][1]), Wt(e[i + 1][1])];
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
		ramp: Gt([
			[0, "#bfcad8"],
			[.3, "#a1b6d3"],
			[.55, "#7f93cb"],
			[.72, "#7c5db8"],
			[.86, "#b23a86"],
			[1, "#d9481c"]
		]),
		density: Gt([
			[0, "#dfe6ee"],
			[.35, "#9db6d8"],
			[.65, "#5a6fb6"],
			[1, "#2b1f5e"]
		]),
		diverging: Gt([
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
		ramp: Gt([
			[0, "#3f4959"],
			[.3, "#446a9c"],
			[.55, "#6f7ad2"],
			[.72, "#bd7fdc"],
			[.86, "#fb93a6"],
			[1, "#ffd678"]
		]),
		density: Gt([
			[0, "#262d3a"],
			[.35, "#3f5590"],
			[.65, "#a765c4"],
			[1, "#ffe2a8"]
		]),
		diverging: Gt([
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
}, Kt = () => matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light", qt = (e, t) => B[e].classes[t % 10], V = {
	left: 62,
	right: 62,
	top: 62,
	bottom: 46
}, Jt = class {
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
function Yt(e, t) {
	let [n, r] = [Infinity, -Infinity];
	for (let t of e) Number.isFinite(t) && (t < n && (n = t), t > r && (r = t));
	return r >= n ? t ? r - n < 1e-6 ? [n - 1, r + 1] : [n - .06 * (r - n) - .05, r + .08 * (r - n) + .05] : r > 0 ? [-.02 * r, 1.08 * r] : [n - 1, 1] : t ? [-3, 1] : [0, 1];
}
// src/map/svg.ts
var Xt = {
	top: .8,
	middle: .35,
	bottom: -.22,
	alphabetic: 0
}, Zt = {
	left: "start",
	center: "middle",
	right: "end"
}, Qt = (e) => Array.from(e, (e) => /^[\ud800-\udfff]$/.test(e) ? "�" : e).join("").replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "�").replace(/[&<>"]/g, (e) => `&#${e.charCodeAt(0)};`), H = (e) => String(Number(e.toFixed(2))), $t = {
	fillStyle: "#000",
	strokeStyle: "#000",
	lineWidth: 1,
	globalAlpha: 1,
	font: "400 10px sans-serif",
	lineJoin: "miter",
	textAlign: "left",
	textBaseline: "alphabetic"
}, en = class {
	width;
	height;
	name;
	measure;
	fillStyle = $t.fillStyle;
	strokeStyle = $t.strokeStyle;
	lineWidth = $t.lineWidth;
	globalAlpha = $t.globalAlpha;
	font = $t.font;
	lineJoin = $t.lineJoin;
	textAlign = $t.textAlign;
	textBaseline = $t.textBaseline;
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
		], s = `font-family="${Qt(o)}" font-size="${a}" font-weight="${i}"`, c = `x="${H(t)}" y="${H(n + Xt[this.textBaseline] * Number(a))}"`;
		this.out.push(`<text ${c} text-anchor="${Zt[this.textAlign]}" ${s} ${r}>${Qt(e)}</text>`);
	}
	line() {
		let e = this.dash.length ? ` stroke-dasharray="${this.dash.join(" ")}"` : "";
		return `stroke="${this.strokeStyle}" stroke-width="${H(this.lineWidth)}" stroke-opacity="${H(this.globalAlpha)}"${e}`;
	}
	ink() {
		return `fill="${this.fillStyle}" fill-opacity="${H(this.globalAlpha)}"`;
	}
}, tn = 2e4;
function nn(e) {
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
function rn(e) {
	let t = e.reduce((e, t) => e + t.frame.width, 0), n = Math.max(...e.map((e) => e.frame.height)), { paper: r } = B[e[0].store.theme.peek()], i = 0, a = e.map((e, t) => {
		let n = an(e, `map${t}`).nested(i);
		return i += e.frame.width, n;
	});
	return `<svg xmlns="http://www.w3.org/2000/svg" ${`width="${t}" height="${n}" viewBox="0 0 ${t} ${n}"`}>${`<rect width="100%" height="100%" fill="${r}"/>`}${a.join("")}</svg>\n`;
}
function an(e, t) {
	let { frame: n } = e, r = document.createElement("canvas").getContext("2d"), i = new en(n.width, n.height, t, (e, t) => (r.font = e, r.measureText(t)));
	if (e.store.n > tn || e.store.marks.peek() === "density") i.drawImage(e.pixels, V.left, V.top, n.plotWidth, n.plotHeight);
	else for (let t of e.discs()) i.disc(...t);
	return e.overlay(i), i;
}
// src/map/axes.ts
var on = (e, t, n = 400) => {
	e.font = `${n} ${t}px Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
};
function sn(e, t, n, r) {
	let { right: i, bottom: a } = t, o = kt(t.domain[0], t.domain[1], t.plotWidth, r[0]), s = kt(t.domain[2], t.domain[3], t.plotHeight, r[1]);
	e.lineWidth = 1, e.strokeStyle = n.ink;
	for (let n of o) ln(e, n.major ? .07 : 0, [
		t.x(n.at),
		V.top,
		t.x(n.at),
		a
	]);
	for (let n of s) ln(e, n.major ? .07 : 0, [
		V.left,
		t.y(n.at),
		i,
		t.y(n.at)
	]);
	for (let n of o) ln(e, .6, [
		t.x(n.at),
		a,
		t.x(n.at),
		a + (n.major ? 5 : 3)
	]);
	for (let n of s) ln(e, .6, [
		V.left - (n.major ? 5 : 3),
		t.y(n.at),
		V.left,
		t.y(n.at)
	]);
	on(e, 11), e.fillStyle = n.muted, e.textAlign = "center", e.textBaseline = "top";
	let c = 0;
	for (let n of o) {
		let r = e.measureText(n.label).width / 2;
		!n.label || t.x(n.at) - r < c || (e.fillText(n.label, t.x(n.at), a + 8), c = t.x(n.at) + r + 8);
	}
	e.textAlign = "right", e.textBaseline = "middle";
	for (let n of s) n.label && e.fillText(n.label, V.left - 9, t.y(n.at));
}
function cn(e, t, n, r) {
	on(e, 12, 500), e.fillStyle = n.ink, e.textBaseline = "alphabetic", e.textAlign = "right", e.fillText("Bayesian leverage (effective parameters) →", t.right, t.bottom + 38), e.textAlign = "left", e.fillText("↑ Prediction error (units of the target)", 10, 18), on(e, 11), e.fillStyle = n.muted, e.fillText(r[0], V.left, t.bottom + 38), e.fillText(r[1], 10, 34);
}
function ln(e, t, [n, r, i, a]) {
	t && (e.globalAlpha = t, e.beginPath(), e.moveTo(Math.round(n) + .5, Math.round(r) + .5), e.lineTo(Math.round(i) + .5, Math.round(a) + .5), e.stroke(), e.globalAlpha = 1);
}
function un(e, t, n, r, i) {
	e.beginPath();
	let a = !1;
	for (let o = V.left; o <= t.right; o += 2) {
		let [s] = t.back(o, 0), c = dn(t, n, r, i, s);
		!Number.isFinite(c) || c < V.top - 500 || (a ? e.lineTo(o, c) : e.moveTo(o, c), a = !0);
	}
	e.stroke();
}
function dn(e, t, n, r, i) {
	let a = t[0] ? 10 ** i : i;
	if (!(a > 0) || !(r > 0)) return NaN;
	let o = It(n, a, r);
	return e.y(t[1] ? Math.log10(o) : o);
}
function fn(e, t, n, r, i, a) {
	let [, o, , s] = t.domain, c = r[0] ? 10 ** o : o, l = Math.log10(Ft(i, i === "cavity" ? Math.min(.99, c) : c, r[1] ? 10 ** s : s)), u = [...a];
	if (!Number.isFinite(l)) return u;
	let d = !1, f = r[0] && r[1] ? 14 : 4;
	for (let a = Math.floor(l); a > l - f; a--) {
		e.strokeStyle = n.muted, e.globalAlpha = .5, e.lineWidth = 1, e.setLineDash([2, 4]), un(e, t, r, i, 10 ** a), e.setLineDash([]), e.globalAlpha = 1;
		let o = `${d ? "" : `${Pt[i]} = `}${Ot(a)}`;
		d = pn(e, t, n, r, i, 10 ** a, o, u) || d;
	}
	return u;
}
function pn(e, t, n, r, i, a, o, s) {
	on(e, 10.5);
	let c = e.measureText(o).width, l = [t.right - 8, ...Array.from({ length: 40 }, (e, n) => t.right - 8 - 20 * (n + 1))];
	for (let u of l) {
		let l = dn(t, r, i, a, t.back(u, 0)[0]), d = [
			u - c,
			l - 15,
			u,
			l
		];
		if (!(u - c < V.left || !(l - 15 > V.top && l < t.bottom - 4)) && !s.some((e) => mn(e, d))) return e.textAlign = "right", e.textBaseline = "bottom", hn(e, n, o, u, l - 2, n.muted), s.push(d), !0;
	}
	return !1;
}
var mn = (e, t) => e[0] < t[2] && t[0] < e[2] && e[1] < t[3] && t[1] < e[3];
function hn(e, t, n, r, i, a) {
	e.strokeStyle = t.paper, e.lineWidth = 3.5, e.lineJoin = "round", e.strokeText(n, r, i), e.fillStyle = a, e.fillText(n, r, i);
}
function gn(e, t, n, r, i, a, o) {
	e.strokeStyle = n.accent, e.lineWidth = 1.5, un(e, t, r, i, a);
	let s = _n(t, r, i, a);
	if (!s) return {
		handle: s,
		box: null
	};
	e.fillStyle = n.paper, e.beginPath(), e.arc(s[0], s[1], 5.5, 0, 7), e.fill(), e.stroke(), on(e, 11, 600);
	let c = `top ${z(o)}`, l = e.measureText(c).width + 14, u = s[0] + 12 + l > t.right ? s[0] - l - 12 : s[0] + 12, d = s[1] - 24 < V.top + 2 ? s[1] + 8 : s[1] - 24;
	return e.fillStyle = n.accent, e.beginPath(), e.roundRect(u, d, l, 18, 9), e.fill(), e.fillStyle = n.onAccent, e.textAlign = "left", e.textBaseline = "middle", e.fillText(c, u + 7, d + 9.5), {
		handle: s,
		box: [
			u - 4,
			d - 4,
			u + l + 4,
			d + 22
		]
	};
}
function _n(e, t, n, r) {
	let i = [];
	for (let a = V.left + 12; a < e.right - 12; a += 4) {
		let o = dn(e, t, n, r, e.back(a, 0)[0]);
		o > V.top + 12 && o < e.bottom - 12 && i.push([a, o]);
	}
	return i.length ? i[Math.floor(i.length * .3)] : null;
}
var vn = 5, yn = class {
	across = [];
	up = [];
	count(e, t, n, r, i, a) {
		let [o, s] = [Math.ceil(e.plotWidth / vn), Math.ceil(e.plotHeight / vn)], [c, l, u, d] = e.domain;
		this.across = [new Float32Array(o), new Float32Array(o)], this.up = [new Float32Array(s), new Float32Array(s)];
		for (let e = 0; e < t.length; e += a) {
			if (r[e] === 0 || !(t[e] >= c && t[e] < l && n[e] >= u && n[e] < d)) continue;
			let a = Math.floor((t[e] - c) / (l - c) * o), f = Math.floor((d - n[e]) / (d - u) * s);
			this.across[0][a]++, this.up[0][f]++, i && r[e] !== 1 && (this.across[1][a]++, this.up[1][f]++);
		}
	}
	draw(e, t, n, r) {
		for (let i of r ? [0, 1] : [0]) e.fillStyle = i ? n.accent : n.bars, e.globalAlpha = i ? 1 : r ? .5 : .85, this.bars(this.across[0], this.across[i], 20, (t, n) => e.fillRect(V.left + t * vn, V.top - 5 - n, 4, n)), this.bars(this.up[0], this.up[i], V.right - 18, (n, r) => e.fillRect(t.right + 6, V.top + n * vn, r, 4));
		e.globalAlpha = 1;
	}
	bars(e, t, n, r) {
		let i = e.reduce((e, t) => Math.max(e, t), 1);
		t.forEach((e, t) => {
			e && r(t, Math.sqrt(e / i) * n);
		});
	}
}, bn = {
	change: "change of sensitivity between the maps",
	drift: "change of leverage × error since the first step"
}, xn = (e) => e === "change" || e === "drift", Sn = (e) => [...e.models.length > 1 ? ["change"] : [], ...e.trajectory ? ["drift"] : []];
function Cn(e, t, n) {
	if (t === "drift") return e.trajectory.drift(n);
	let [r, i] = e.models;
	return r.sensitivity.map((e, t) => e > 0 && i.sensitivity[t] > 0 ? Math.log10(i.sensitivity[t] / e) : NaN);
}
var wn = (e) => Math.max(Math.log10(1.1), Nt(e.map(Math.abs), .99) || 0), Tn = (e, t, n) => wn(Cn(e, t, n));
function En(e, t, n) {
	let r = Cn(e, t, n), i = wn(r);
	return Uint8Array.from(r, (e) => Number.isFinite(e) ? Math.round(127 + 127 * Math.max(-1, Math.min(1, e / i))) : 255);
}
// src/map/cloud.ts
var Dn = class {
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
		this.k === 0 && e !== null && t.value < e.steps - 1 ? (e.fill(t.value, this.x, this.y), n.value[0] || Nn(this.x), n.value[1] || Nn(this.y)) : (this.x.set(n.value[0] ? r[this.k].leverage.map(Math.log10) : r[this.k].leverage), this.y.set(n.value[1] ? r[this.k].error.map(Math.log10) : r[this.k].error)), this.hidden = [On(this.x), On(this.y)];
	}
}, On = (e) => e.reduce((e, t) => e + +(t === -Infinity), 0), kn = .6, An = (e) => {
	let t = /* @__PURE__ */ new Uint8Array(768);
	for (let [n, r] of e.entries()) t.set(r, 3 * n);
	return t;
};
function jn(e, t, n) {
	let { table: r, n: i } = e, a = e.color.value, o = e.theme.value, s = (/* @__PURE__ */ new Float32Array(256)).fill(.88), c = (e, t) => (n.has(e) || n.set(e, t()), n.get(e));
	if (a === "correct") {
		let t = c("correct", () => Uint8Array.from({ length: i }, (t, n) => +!!e.wrong(n)));
		return s.set([.35, .92]), {
			codes: t,
			lut: An([Wt(B[o].right), Wt(B[o].wrong)]),
			alpha: s
		};
	}
	if (xn(a)) {
		let t = () => En(e, a, e.time.value), n = a === "drift" ? t() : c(a, t);
		for (let e = 0; e < 255; e++) s[e] = kn + .35 * Math.abs(e / 127 - 1);
		s[255] = kn;
		let r = B[o].diverging.slice();
		return r.set(Wt(B[o].faint), 765), {
			codes: n,
			lut: r,
			alpha: s
		};
	}
	if (r.about(a).kind === "class") return {
		codes: c(a, () => Uint8Array.from(r.codes(a), (e) => e === 65535 ? 255 : e % 255)),
		lut: An([...Array.from({ length: 255 }, (e, t) => Wt(qt(o, t))), Wt(B[o].faint)]),
		alpha: s
	};
	let l = t && r.has(`${a}@${t}`) ? `${a}@${t}` : a, u = t === 0 && e.earlier.value !== null ? e.shade(l).codes : c(l, () => e.shade(l).codes);
	for (let e = 0; e < 256; e++) s[e] = kn + .35 * (e / 255) ** 1.5;
	return {
		codes: u,
		lut: B[o].ramp,
		alpha: s
	};
}
function Mn(e, t) {
	return (e < 3e3 ? 2.9 : e < 2e4 ? 2.1 : e < 15e4 ? 1.5 : 1.05) * Math.min(2.2, Math.max(1, t ** .35));
}
function Nn(e) {
	for (let t = 0; t < e.length; t++) e[t] = 10 ** e[t];
}
// src/map/crowd.ts
function Pn(e, t, n, r, i = 1) {
	let { x: a, y: o, state: s, kx: c, bx: l, ky: u, by: d } = e, f = Math.ceil(t / r), p = new Float32Array(f * Math.ceil(n / r));
	for (let e = 0; e < a.length; e += i) {
		if (s[e] === 0) continue;
		let m = a[e] * c + l, h = o[e] * u + d;
		m >= 0 && h >= 0 && m < t && h < n && (p[(h / r | 0) * f + (m / r | 0)] += i);
	}
	return p;
}
var Fn = 2, In = .25, Ln = class {
	cell;
	columns;
	strengths;
	constructor(e, t, n, r, i, a) {
		this.cell = r, this.columns = Math.ceil(t / r);
		let o = zn(Pn(e, t, n, r, a), this.columns), s = Math.PI * i ** 2 / r ** 2;
		this.strengths = o.map((e) => Rn(e * s));
	}
	at(e, t) {
		return this.strengths[(t / this.cell | 0) * this.columns + (e / this.cell | 0)] ?? 1;
	}
}, Rn = (e) => Math.max(In, Math.min(1, (Fn / e) ** .5));
function zn(e, t) {
	return Bn(Bn(e, 1, (e) => e % t > 0, (e) => e % t < t - 1), t, (e) => e >= t, (n) => n < e.length - t);
}
var Bn = (e, t, n, r) => e.map((i, a) => (i + (n(a) ? e[a - t] : i) + (r(a) ? e[a + t] : i)) / 3), Vn = 8, Hn = 81, Un = class {
	px;
	py;
	columns;
	rows;
	head;
	next;
	constructor(e, t, n, r, i, a) {
		this.px = e, this.py = t, this.columns = Math.ceil(n / Vn) + 1, this.rows = Math.ceil(r / Vn) + 1, this.head = new Int32Array(this.columns * this.rows).fill(-1), this.next = new Int32Array(a.length);
		for (let e of i) a[e] && this.add(e);
	}
	add(e) {
		let [t, n] = [this.px(e), this.py(e)];
		if (!(t >= 0 && n >= 0)) return;
		let [r, i] = [Math.floor(t / Vn), Math.floor(n / Vn)];
		if (r >= this.columns || i >= this.rows) return;
		let a = i * this.columns + r;
		this.next[e] = this.head[a], this.head[a] = e;
	}
	nearest(e, t) {
		let [n, r] = [Math.floor(e / Vn), Math.floor(t / Vn)], [i, a] = [-1, Hn];
		for (let o = Math.max(0, r - 1); o <= Math.min(this.rows - 1, r + 1); o++) for (let r = Math.max(0, n - 1); r <= Math.min(this.columns - 1, n + 1); r++) for (let n = this.head[o * this.columns + r]; n >= 0; n = this.next[n]) {
			let r = (this.px(n) - e) ** 2 + (this.py(n) - t) ** 2;
			r < a && ([i, a] = [n, r]);
		}
		return i;
	}
}, Wn = 12;
function Gn(e, t, n, r, i, a) {
	let o = [];
	for (let s of t) {
		if (o.length >= a) break;
		let [t, c] = n(s);
		if (!e.inside(t, c) || o.some((e) => Math.hypot(e.x - t, e.y - c) < 24)) continue;
		let l = Jn(e, t, c, r, [...i, ...o.map(qn)], o);
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
function Kn(e, t, n, r, i, a) {
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
		]).find((t) => t[0] > V.left && t[2] < e.right && t[1] > V.top && !s.some((e) => mn(e, t)));
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
var qn = (e) => [
	e.left - 4,
	e.top - 4,
	e.left + 32 + 4,
	e.top + 32 + 4
];
function Jn(e, t, n, r, i, a) {
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
		if (f[0] < V.left || f[1] < V.top || f[2] > e.right || f[3] > e.bottom || i.some((e) => mn(e, f))) continue;
		let p = a.filter((e) => Math.hypot(e.x - u - 16, e.y - d - 16) < 26).length, m = 1.2 * r(u, d) + .35 * c + 40 * p;
		m < s && ([o, s] = [[u, d], m]);
	}
	return o;
}
function Yn(e, t) {
	let n = Math.ceil(e.width / Wn) + 1, r = new Float32Array(n * (Math.ceil(e.height / Wn) + 1));
	for (let [i, a] of t) e.inside(i, a) && r[Math.floor(a / Wn) * n + Math.floor(i / Wn)]++;
	return (e, t) => {
		let i = 0;
		for (let a = t; a < t + 32; a += Wn) for (let t = e; t < e + 32; t += Wn) i += r[Math.floor(a / Wn) * n + Math.floor(t / Wn)];
		return i;
	};
}
// src/map/raster.ts
var Xn = class {
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
			let [S, C] = [_ | 0, x | 0], { offsets: ee, weights: w } = this.kernels[((x - C) * 4 | 0) << 2 | (_ - S) * 4], T = o[p], E = c[T] * (m ? m.at(_, x) : 1) * 256 | 0, [te, ne, D] = [
				s[3 * T],
				s[3 * T + 1],
				s[3 * T + 2]
			], re = (C * g + S) * 4;
			for (let e = 0; e < ee.length; e++) {
				let t = re + ee[e], n = w[e] * E >> 8;
				h[t] += (te - h[t]) * n + 128 >> 8, h[t + 1] += (ne - h[t + 1]) * n + 128 >> 8, h[t + 2] += (D - h[t + 2]) * n + 128 >> 8;
			}
		}
	}
	density(e, t) {
		let { width: n, height: r } = this.image, i = Math.ceil(n / t), a = Pn(e, n, r, t), o = 254 / Math.log1p(a.reduce((e, t) => Math.max(e, t), 1)), s = new Uint32Array(this.image.data.buffer);
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
}, Zn = 0, Qn = 1, $n = 2, er = 3, tr = 2e5, nr = 400, rr = 400, ir = 6, ar = 24, or = class {
	store;
	k;
	frame = new Jt();
	positions;
	root = document.createElement("div");
	top;
	handle = null;
	lasso = [];
	state;
	histograms = new yn();
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
		this.store = e, this.k = t, this.root.className = "mm-map", this.positions = new Dn(e, t), this.state = new Uint8Array(e.n);
		let [n, r, i] = [
			"mm-points",
			"mm-lines",
			"mm-top"
		].map((e) => this.canvas(e));
		this.top = i, this.raster = new Xn(n), this.middle = r.getContext("2d"), this.upper = i.getContext("2d");
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
				this.state[s] = !t[s] || !e.drawn[s] ? Zn : c ? Qn : o[s] > 0 ? er : $n;
			}
			this.changed("points", "axes", "hover");
		}), t(() => {
			e.theme.value, e.color.value, e.marks.value, this.changed("points", "axes", "hover");
		}), t(() => {
			e.top.value, e.pins.value, this.changed("axes");
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
			let n = i.map((n) => Yt(t ? n[e].map(Math.log10) : n[e], t)), a = r ? this.store.meta.steps : [], o = e === "leverage" ? 0 : 1;
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
		this.frame.domain = e, this.quick = this.store.n > tr, this.quick && (clearTimeout(this.idle), this.idle = window.setTimeout(() => {
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
		return this.grid ??= new Un(this.px, this.py, n, r, this.store.models[this.k].order, this.state), this.grid.nearest(e, t);
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
		if (this.raster.clear(Wt(this.theme.paper)), e.marks.peek() === "density") this.raster.density({
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
		return new Ln(this.placed, t, n, ir * this.ratio, e * this.ratio, this.stride);
	}
	passes() {
		let { store: e, frame: t } = this, n = (this.home[1] - this.home[0]) / (t.domain[1] - t.domain[0]), r = Mn(e.n, n), i = {
			order: e.models[this.k].order,
			stride: this.stride,
			hollow: !1,
			radius: r,
			crowd: null
		}, a = jn(e, this.k, this.shades), o = {
			...a,
			alpha: (/* @__PURE__ */ new Float32Array(256)).fill(1)
		};
		return [
			...this.some ? [{
				...i,
				want: Qn,
				...this.grey()
			}] : [],
			{
				...i,
				...a,
				want: $n,
				crowd: this.crowd(r)
			},
			{
				...i,
				...o,
				want: er,
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
		return e.set(Wt(this.theme.faint), 0), {
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
		let { store: n, frame: r, theme: i } = this, a = n.log.peek(), { iso: o } = n.meta, s = n.scores(this.k), c = s.cutOfTop(n.top.peek()), l = [];
		sn(e, r, i, a), cn(e, r, i, this.hiddenWords()), this.histograms.draw(e, r, i, this.some), this.clipped(e, () => {
			let t = s.countAbove(c) / n.n, u = gn(e, r, i, a, o, c, t);
			this.handle = u.handle, u.box && l.push(u.box), u.handle && l.push([
				u.handle[0] - 10,
				u.handle[1] - 10,
				u.handle[0] + 10,
				u.handle[1] + 10
			]), l = fn(e, r, i, a, o, l), n.compare.peek() === "arrows" && this.k === 0 && this.arrows(e), gn(e, r, i, a, o, c, t), this.rings(e);
		}), n.compare.peek() === "side" && this.modelName(e), n.pins.peek() && (n.sheets ? this.drawPins(e, l, t) : this.names(e, l));
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
		on(e, 12, 600), e.textAlign = "left", e.textBaseline = "top", hn(e, this.theme, this.store.models[this.k].name.slice(0, 60), V.left + 10, V.top + 8, this.theme.ink);
	}
	rings(e) {
		let t = this.store.selection.peek();
		if (!(!t.length || t.length > nr || this.store.marks.peek() === "density")) {
			e.strokeStyle = this.theme.accent, e.lineWidth = 1;
			for (let n of t) sr(e, this.px(n), this.py(n), 4.5);
		}
	}
	arrows(e) {
		let { store: t, frame: n } = this, r = t.selection.peek(), i = r.length ? r.slice(0, rr) : t.orderBy("move", !0).slice(0, 60), [a, o] = t.log.peek(), s = t.models[1];
		e.strokeStyle = this.theme.accent, e.fillStyle = this.theme.accent, e.lineWidth = 1.2;
		for (let t of i) {
			let r = n.x(a ? Math.log10(s.leverage[t]) : s.leverage[t]), i = n.y(o ? Math.log10(s.error[t]) : s.error[t]);
			lr(e, this.px(t), this.py(t), r, i);
		}
	}
	*spots() {
		let e = Math.max(1, Math.floor(this.store.n / 3e4));
		for (let t = 0; t < this.store.n; t += e) this.state[t] && (yield [this.px(t), this.py(t)]);
	}
	*candidates() {
		let { store: e } = this, t = this.k === 0 && e.earlier.peek() ? e.orderBy("sensitivity", !1) : e.models[this.k].order;
		for (let e = t.length - 1; e >= Math.max(0, t.length - 600); e--) {
			let n = t[e];
			this.state[n] >= $n && (this.store.sheets?.has(n) ?? !0) && (yield n);
		}
	}
	names(e, t) {
		let { frame: n, theme: r } = this;
		on(e, 11);
		let i = (t) => e.measureText(this.store.table.id(t).slice(0, ar)).width, a = (e) => [this.px(e), this.py(e)];
		e.textAlign = "left", e.textBaseline = "middle";
		for (let { example: o, left: s, top: c } of Kn(n, this.candidates(), a, i, t, n.plotWidth < 420 ? 6 : 10)) hn(e, r, this.store.table.id(o).slice(0, ar), s, c + 15 / 2, r.ink);
	}
	drawPins(e, t, n) {
		let { frame: r, theme: i } = this;
		if (n || !this.pins.length) {
			let e = r.plotWidth < 420 ? 5 : 8, n = (e) => [this.px(e), this.py(e)];
			this.pins = Gn(r, this.candidates(), n, Yn(r, this.spots()), t, e);
		}
		for (let t of this.pins) e.strokeStyle = i.ink, e.lineWidth = 1, e.globalAlpha = .5, cr(e, t.x, t.y, t.left + 16, t.top + 16), e.globalAlpha = 1;
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
			this.lasso.length > 1 && ur(e, n, this.lasso);
		});
	}
	mark(e, t, n) {
		let [r, i] = [this.px(t), this.py(t)];
		e.strokeStyle = this.theme.paper, e.lineWidth = n + 2.5, sr(e, r, i, 7), e.strokeStyle = this.theme.ink, e.lineWidth = n, sr(e, r, i, 7), e.globalAlpha = .4, e.lineWidth = 1, e.setLineDash([2, 3]), cr(e, r, i + 8, r, this.frame.bottom), cr(e, r - 8, i, V.left, i), e.setLineDash([]), e.globalAlpha = 1;
	}
	trail(e, t, n) {
		let { trajectory: r, log: i } = this.store;
		if (!r || this.k > 0) return;
		let [a, o] = i.peek(), s = (e) => {
			let [n, i] = r.at(e, t);
			return [this.frame.x(a ? n : 10 ** n), this.frame.y(o ? i : 10 ** i)];
		};
		e.strokeStyle = n === 1 ? this.theme.ink : this.theme.accent, e.lineWidth = 1.3;
		for (let t = 0; t < r.steps - 1; t++) e.globalAlpha = n * (.15 + .75 * (t + 1) / r.steps), cr(e, ...s(t), ...s(t + 1)), sr(e, ...s(t), 1.3);
		e.globalAlpha = 1;
	}
};
function sr(e, t, n, r) {
	e.beginPath(), e.arc(t, n, r, 0, 2 * Math.PI), e.stroke();
}
function cr(e, t, n, r, i) {
	e.beginPath(), e.moveTo(t, n), e.lineTo(r, i), e.stroke();
}
function lr(e, t, n, r, i) {
	let a = Math.atan2(i - n, r - t);
	e.globalAlpha = .65, cr(e, t, n, r, i), e.beginPath(), e.moveTo(r, i);
	for (let t of [2.7, -2.7]) e.lineTo(r + 7 * Math.cos(a + t), i + 7 * Math.sin(a + t));
	e.fill(), e.globalAlpha = 1;
}
function ur(e, t, n) {
	e.beginPath();
	for (let [t, r] of n) e.lineTo(t, r);
	e.closePath(), e.fillStyle = t.accent, e.globalAlpha = .1, e.fill(), e.globalAlpha = 1, e.strokeStyle = t.accent, e.lineWidth = 1.25, e.stroke();
}
// src/state/take.ts
var dr = (e) => Array.from(e.listed.value, (t) => e.table.id(t)), fr = (e) => dr(e).map((t) => e.meta.integers ? t : JSON.stringify(t)), pr = (e) => `{"format": "memorymaps-selection", "ids": [${fr(e).join(", ")}]}\n`, mr = (e) => `m.select([${fr(e).join(", ")}])`;
function hr(e) {
	let t = ["id", ...e.meta.columns.map((e) => e.name).filter((e) => e !== "slot")], n = Array.from(e.listed.value, (n) => t.map((t) => gr(e, t, n)).join(","));
	return `${[t.map((t) => e.earlier.value && t === "sensitivity" ? e.heading(t) : t).map(_r).join(","), ...n].join("\n")}\n`;
}
function gr(e, t, n) {
	return t === "id" ? vr(e.table.id(n)) : e.table.about(t).kind === "number" ? String(e.numbers(t)[n]) : _r(e.table.cell(t, n, String));
}
function _r(e) {
	return vr(/^[=+\-@\t\r]/.test(e) ? `'${e}` : e);
}
var vr = (e) => /[",\n\r]/.test(e) ? `"${e.replace(/"/g, "\"\"")}"` : e;
function yr(e, t) {
	let n = document.createElement("a");
	n.href = URL.createObjectURL(t), n.download = e, n.click(), setTimeout(() => URL.revokeObjectURL(n.href), 5e3);
}
async function br(e, t, n) {
	try {
		await navigator.clipboard.writeText(t);
	} catch {
		xr(t);
	}
	e.said.value = `${n} copied`;
}
function xr(e) {
	let t = document.createElement("textarea");
	t.value = e, document.body.append(t), t.select(), document.execCommand("copy"), t.remove();
}
// node_modules/preact/jsx-runtime/dist/jsxRuntime.mjs
var Sr = Symbol.for("pv"), Cr = 0;
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
		constructor: Sr,
		__v: --Cr,
		__i: -1,
		__u: 0
	};
	return (a || o) && (u.__source = a, u.__self = o), e.vnode && e.vnode(u), u;
}
// src/panels/parts.tsx
function wr({ label: e, value: t, set: n, options: r }) {
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
function Tr({ store: e, i: t, size: n }) {
	let r = Ae(null), i = Math.round(n * Math.min(2, devicePixelRatio || 1)), a = e.sheets?.has(t) ?? !1;
	if (ke(() => {
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
function Er({ store: e, i: t, size: n }) {
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
		children: [/* @__PURE__ */ U(Tr, {
			store: e,
			i: t,
			size: n
		}), r && /* @__PURE__ */ U("span", {
			class: "mm-badge",
			children: e.cell("prediction", t)
		})]
	});
}
function Dr({ width: e, height: t, label: n, draw: r, deps: i, onDrag: a, fluid: o }) {
	let s = Ae(null);
	ke(() => {
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
function Or(e, t) {
	let [n, r] = De("");
	return ke(() => {
		let n = !0;
		return r(""), t >= 0 && e.texts?.get(t).then((e) => n && r(e)), () => {
			n = !1;
		};
	}, [t]), n;
}
function kr({ store: e, view: t }) {
	let n = e.hover.value, r = Or(e, n);
	if (n < 0 || !t || !t.frame.inside(t.px(n), t.py(n))) return null;
	let [i, a] = [t.px(n), t.py(n)], o = i + 320 > t.frame.width ? i - 300 : i + 20, s = Math.max(8, Math.min(t.frame.height - 190, a - 60));
	return /* @__PURE__ */ U("div", {
		class: "mm-card",
		style: `left:${Math.max(4, o)}px;top:${s}px`,
		children: [/* @__PURE__ */ U(Tr, {
			store: e,
			i: n,
			size: 84
		}), /* @__PURE__ */ U("div", {
			class: "mm-card-body",
			children: [
				/* @__PURE__ */ U(Ar, {
					store: e,
					i: n,
					k: t.k
				}),
				r && /* @__PURE__ */ U("p", {
					class: "mm-text",
					dir: "auto",
					children: r.slice(0, 180)
				}),
				/* @__PURE__ */ U(Mr, {
					store: e,
					i: n,
					names: [
						"leverage",
						"error",
						"sensitivity"
					],
					k: t.k
				})
			]
		})]
	});
}
function Ar({ store: e, i: t, k: n }) {
	let r = (n ? e.models[n].rank : e.rank.value)[t] + 1, i = n ? "sensitivity" : e.rankedBy.value;
	return /* @__PURE__ */ U(x, { children: [
		/* @__PURE__ */ U("div", {
			class: "mm-card-id",
			dir: "auto",
			children: e.table.id(t)
		}),
		/* @__PURE__ */ U("div", {
			class: "mm-rank",
			children: `${R(r)} of ${R(e.n)} by ${i} · top ${z(r / e.n)}`
		}),
		n > 0 && /* @__PURE__ */ U("div", {
			class: "mm-note",
			dir: "auto",
			children: e.models[n].name
		}),
		n === 0 && /* @__PURE__ */ U(jr, {
			store: e,
			i: t
		})
	] });
}
function jr({ store: e, i: t }) {
	let [n, r, i] = [
		"target",
		"prediction",
		"loo_prediction"
	].map((n) => e.cell(n, t)), a = e.wrong(t);
	return e.earlier.value ? /* @__PURE__ */ U("div", {
		dir: "auto",
		children: `target ${n}, at the last step predicted ${r}`
	}) : e.meta.classification ? /* @__PURE__ */ U("div", {
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
function Mr({ store: e, i: t, names: n, k: r = 0 }) {
	return /* @__PURE__ */ U("dl", { children: n.map((n) => {
		let { unit: i, words: a } = e.table.about(n);
		return [/* @__PURE__ */ U("dt", {
			title: a,
			dir: "auto",
			children: r ? n : e.heading(n)
		}, `t${n}`), /* @__PURE__ */ U("dd", {
			title: i,
			dir: "auto",
			children: e.cell(r ? `${n}@${r}` : n, t)
		}, `d${n}`)];
	}) });
}
function Nr({ store: e }) {
	let t = e.focus.value, n = Or(e, t);
	if (t < 0) return null;
	let r = e.meta.columns.map((e) => e.name).filter((e) => !Fr.has(e) && !e.includes("@")), i = e.warningsOf(t);
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
				children: [/* @__PURE__ */ U(Tr, {
					store: e,
					i: t,
					size: 112
				}), /* @__PURE__ */ U("div", {
					class: "mm-card-body",
					children: /* @__PURE__ */ U(Ar, {
						store: e,
						i: t,
						k: 0
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
				children: i.length ? `◯ ${i.join("; ")}` : `● no warning of its own; ${Pr(e)}`
			}),
			/* @__PURE__ */ U(Mr, {
				store: e,
				i: t,
				names: r
			})
		]
	});
}
function Pr(e) {
	let t = e.meta.trust.find(({ figure: e }) => e === "sensitivity");
	return t ? `sensitivity ${t.level}: ${t.reasons.join("; ")}` : "";
}
var Fr = /* @__PURE__ */ new Set([
	"target",
	"prediction",
	"loo_prediction",
	"warning",
	"slot"
]), [Ir, Lr, Rr, zr] = [
	380,
	220,
	44,
	32
];
function Br({ store: e }) {
	let { n: t } = e, n = e.share.value, r = e.top.value, i = e.rankedBy.value, a = Math.log10(1 / t), o = (e) => Rr + ((Math.log10(Math.max(e, 1 / t)) - a) / -a || 0) * (Ir - Rr - 12), s = (e) => 10 + (1 - e) * (Lr - zr - 10), c = (i) => {
		let c = B[e.theme.value];
		i.font = "11px system-ui, sans-serif", Vr(i, c.muted, a, o, s), i.beginPath();
		for (let e = 0; e <= 240; e++) {
			let r = 10 ** (a * (1 - e / 240));
			i.lineTo(o(r), s(n[Math.min(t, Math.round(r * t))]));
		}
		i.strokeStyle = c.ink, i.lineWidth = 2, i.stroke(), i.strokeStyle = i.fillStyle = c.accent, i.lineWidth = 1, i.setLineDash([3, 3]), i.beginPath(), i.moveTo(o(r / t), s(0)), i.lineTo(o(r / t), s(n[r])), i.lineTo(Rr, s(n[r])), i.stroke(), i.setLineDash([]), i.beginPath(), i.arc(o(r / t), s(n[r]), 5, 0, 7), i.fill();
	}, l = (n) => {
		let r = 10 ** (a * (1 - Math.max(0, Math.min(1, (n - Rr) / (Ir - Rr - 12)))));
		e.top.value = Math.max(1, Math.round(r * t));
	}, u = n.findIndex((e) => e >= .5);
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
					" of the ",
					i,
					" is in ",
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
			/* @__PURE__ */ U(Dr, {
				width: Ir,
				height: Lr,
				label: `Share of the ${i} in the largest examples; half of it in ${z(u / t)}`,
				draw: c,
				deps: [
					r,
					e.theme.value,
					n
				],
				onDrag: l
			}),
			/* @__PURE__ */ U("p", {
				class: "mm-note",
				children: `Half of it is in ${z(u / t)} (${R(u)} examples). Drag here, or drag the line on the map.`
			}),
			/* @__PURE__ */ U("button", {
				type: "button",
				class: "mm-big",
				onClick: () => e.selectTop(r),
				children: `Select the ${R(r)} largest by ${i}`
			})
		]
	});
}
function Vr(e, t, n, r, i) {
	e.fillStyle = e.strokeStyle = t, e.textAlign = "right", e.textBaseline = "middle";
	for (let t of [
		0,
		.25,
		.5,
		.75,
		1
	]) e.globalAlpha = .2, e.beginPath(), e.moveTo(Rr, i(t)), e.lineTo(Ir - 12, i(t)), e.stroke(), e.globalAlpha = 1, e.fillText(z(t), Rr - 6, i(t));
	e.textAlign = "center", e.textBaseline = "top";
	for (let t = Math.ceil(n); t <= 0; t++) e.fillText(z(10 ** t), Math.min(Ir - 20, r(10 ** t)), Lr - zr + 8);
}
// src/panels/examples.tsx
var Hr = 30, Ur = 8e6;
function Wr({ store: e }) {
	let t = e.listed.value;
	return /* @__PURE__ */ U("div", {
		class: "mm-col",
		tabIndex: 0,
		role: "region",
		"aria-label": "Panel",
		children: [
			/* @__PURE__ */ U(Nr, { store: e }),
			/* @__PURE__ */ U(Kr, {
				store: e,
				listed: t
			}),
			/* @__PURE__ */ U(qr, { store: e }),
			t.length === 0 ? /* @__PURE__ */ U(Gr, { store: e }) : /* @__PURE__ */ U(Jr, {
				store: e,
				listed: t
			}),
			t.length > 0 && /* @__PURE__ */ U(Xr, {
				store: e,
				listed: t
			})
		]
	});
}
function Gr({ store: e }) {
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
function Kr({ store: e, listed: t }) {
	let n = e.ranked.value, [r, i, a] = [
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
			/* @__PURE__ */ U("div", { children: [/* @__PURE__ */ U("b", { children: z(i > 0 ? r / i : 0) }), /* @__PURE__ */ U("span", { children: ["of all ", e.rankedBy.value] })] }),
			e.meta.classification && /* @__PURE__ */ U("div", { children: [/* @__PURE__ */ U("b", { children: z(t.length ? a / t.length : 0) }), /* @__PURE__ */ U("span", { children: "misclassified" })] })
		]
	});
}
function qr({ store: e }) {
	let t = e.selection.value.length > 0, n = (e, t, n) => yr(e, new Blob([t], { type: n }));
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
				onClick: () => br(e, dr(e).join("\n"), "ids"),
				children: "ids"
			}),
			/* @__PURE__ */ U("button", {
				type: "button",
				title: "copy Python code that selects these examples",
				onClick: () => br(e, mr(e), "Python"),
				children: "Python"
			}),
			/* @__PURE__ */ U("button", {
				type: "button",
				onClick: () => n("selection.csv", hr(e), "text/csv"),
				children: "CSV"
			}),
			/* @__PURE__ */ U("button", {
				type: "button",
				onClick: () => n("selection.json", pr(e), "application/json"),
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
function Jr({ store: e, listed: t }) {
	let [n, r] = De(28);
	return e.sheets ? /* @__PURE__ */ U("div", {
		class: "mm-gallery",
		children: [Array.from(t.slice(0, n), (t) => /* @__PURE__ */ U(Er, {
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
var Yr = [
	"target",
	"prediction",
	"leverage",
	"error",
	"sensitivity"
];
function Xr({ store: e, listed: t }) {
	let [n, r] = De(0), i = Math.min(t.length * Hr, Ur), a = Math.max(0, Math.floor(n / i * t.length) - 3), o = a / t.length * i;
	return /* @__PURE__ */ U("div", {
		class: `mm-tablebox${e.sheets ? "" : " plain"}${e.meta.classification ? "" : " numeric"}`,
		children: /* @__PURE__ */ U("div", {
			class: "mm-scroll",
			tabIndex: 0,
			role: "region",
			"aria-label": "Rows of the table",
			onScroll: (e) => r(e.currentTarget.scrollTop),
			children: [/* @__PURE__ */ U(Zr, { store: e }), /* @__PURE__ */ U("div", {
				style: `height:${i}px;position:relative`,
				children: Array.from(t.slice(a, a + 30), (t, n) => /* @__PURE__ */ U($r, {
					store: e,
					i: t,
					top: o + n * Hr
				}, t))
			})]
		})
	});
}
function Zr({ store: e }) {
	let { key: t, down: n } = e.sort.value, r = (r) => e.sort.value = {
		key: r,
		down: r !== t || !n
	};
	return /* @__PURE__ */ U("div", {
		class: "mm-row mm-head",
		children: [/* @__PURE__ */ U("span", {}), ["id", ...Yr].map((i) => /* @__PURE__ */ U("button", {
			type: "button",
			"data-sort": i,
			class: `${i === t ? "on " : ""}${Qr(e, i) ? "num" : ""}`,
			title: e.table.about(i).words,
			onClick: () => r(i),
			children: [i === "prediction" ? "predicted" : e.heading(i), i === t && (n ? "↓" : "↑")]
		}, i))]
	});
}
var Qr = (e, t) => t !== "id" && e.table.about(t).kind === "number";
function $r({ store: e, i: t, top: n }) {
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
			/* @__PURE__ */ U(Tr, {
				store: e,
				i: t,
				size: 24
			}),
			!e.sheets && /* @__PURE__ */ U("span", {}),
			["id", ...Yr].map((n) => /* @__PURE__ */ U("span", {
				dir: "auto",
				class: `${Qr(e, n) ? "num" : ""}${n === "prediction" && e.wrong(t) ? " mm-bad" : ""}`,
				children: e.cell(n, t)
			}, n))
		]
	});
}
// src/state/filters.ts
var ei = {
	classes: [],
	predicted: -1,
	correct: "all",
	flips: !1,
	warned: !1,
	undrawn: !1,
	where: null,
	search: ""
}, ti = (e) => JSON.stringify(e) === JSON.stringify(ei);
function ni(e, t, n, r) {
	let i = ri(e, t, n);
	r && i.push((e) => r[e] === 1);
	let a = new Uint8Array(e.n);
	for (let t = 0; t < e.n; t++) a[t] = +!!i.every((e) => e(t));
	return a;
}
function ri(e, t, n) {
	let r = [];
	if (e.meta.classification && r.push(...ii(e, n)), n.warned) {
		let t = e.numbers("warning");
		r.push((e) => t[e] > 0);
	}
	if (n.undrawn && r.push((e) => t[e] === 0), n.where && e.has(n.where.column)) {
		let { column: t, code: i } = n.where, a = e.codes(t);
		r.push((e) => a[e] === i);
	}
	return r;
}
function ii(e, t) {
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
function ai(e, t, n) {
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
var oi = 12;
function si({ store: e }) {
	let t = e.filters.value, n = (t) => e.filters.value = {
		...e.filters.peek(),
		...t
	}, r = e.meta.columns.some((e) => e.name === "warning") && e.table.numbers("warning").some((e) => e > 0);
	return /* @__PURE__ */ U("div", {
		class: "mm-bar",
		children: [
			e.meta.classification && /* @__PURE__ */ U(li, {
				store: e,
				filters: t,
				set: n
			}),
			r && /* @__PURE__ */ U(ci, {
				on: t.warned,
				words: "warnings",
				hint: "examples whose scores carry a warning",
				click: () => n({ warned: !t.warned })
			}),
			e.undrawn > 0 && /* @__PURE__ */ U(ci, {
				on: t.undrawn,
				words: `not drawn (${R(e.undrawn)})`,
				hint: "examples without finite coordinates: listed in the table, not on the map",
				click: () => n({ undrawn: !t.undrawn })
			}),
			/* @__PURE__ */ U(di, {
				store: e,
				filters: t,
				set: n
			}),
			!ti(t) && /* @__PURE__ */ U("button", {
				type: "button",
				onClick: () => {
					e.seek(""), e.filters.value = ei;
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
function ci({ on: e, words: t, hint: n, click: r }) {
	return /* @__PURE__ */ U("button", {
		type: "button",
		class: e ? "on" : "",
		"aria-pressed": e,
		title: n,
		onClick: r,
		children: t
	});
}
function li({ store: e, filters: t, set: n }) {
	let r = e.table.about("target").names;
	return /* @__PURE__ */ U(x, { children: [
		r.length <= oi ? /* @__PURE__ */ U(ui, {
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
		/* @__PURE__ */ U(wr, {
			label: "Correctness",
			value: t.correct,
			set: (e) => n({ correct: e }),
			options: [
				["all", "all"],
				["right", "correct"],
				["wrong", "wrong"]
			]
		}),
		/* @__PURE__ */ U(ci, {
			on: t.flips,
			words: "flips when left out",
			hint: "the predicted class changes if the example is left out of training",
			click: () => n({ flips: !t.flips })
		})
	] });
}
function ui({ store: e, names: t, filters: n, set: r }) {
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
			children: [/* @__PURE__ */ U("i", { style: `background:${e.color.value === "target" ? qt(e.theme.value, n) : "var(--muted)"}` }), /* @__PURE__ */ U("span", {
				dir: "auto",
				children: t || "(empty)"
			})]
		}, n))
	});
}
function di({ store: e, filters: t, set: n }) {
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
function fi({ store: e }) {
	return /* @__PURE__ */ U("div", {
		class: "mm-col",
		tabIndex: 0,
		role: "region",
		"aria-label": "Panel",
		children: e.meta.groups.map((t) => /* @__PURE__ */ U(pi, {
			store: e,
			groups: t
		}, t.title))
	});
}
function pi({ store: e, groups: t }) {
	let [n, r] = De(null), i = n ? gi(t.rows, n.column, n.down) : t.rows, a = (e) => r({
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
				children: /* @__PURE__ */ U(mi, {
					store: e,
					groups: t,
					name: n.name
				})
			}), n.values.map((e, n) => /* @__PURE__ */ U("td", { children: _i(e, t.columns[n].unit) }, n))] }, n.name)) })] })
		})
	] });
}
function mi({ store: e, groups: t, name: n }) {
	let r = /* @__PURE__ */ U("span", {
		dir: "auto",
		children: n || "(empty)"
	}), i = t.by === "target" && e.meta.classification ? hi(e, n) : -1;
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
var hi = (e, t) => e.table.about("target").names.indexOf(t);
function gi(e, t, n) {
	let r = (e) => e.values[t] ?? -Infinity;
	return [...e].sort((e, t) => n ? r(t) - r(e) : r(e) - r(t));
}
function _i(e, t) {
	return e === null ? "–" : t === "share" ? z(e) : t === "" ? R(e) : L(e);
}
// src/panels/rankings.tsx
var vi = 8, yi = (e) => e.replaceAll("_", " ");
function bi({ store: e, i: t, words: n }) {
	return /* @__PURE__ */ U("button", {
		type: "button",
		class: "mm-entry",
		"data-example": t,
		title: e.describe(t),
		onMouseEnter: () => e.hover.value = t,
		onMouseLeave: () => e.hover.value = -1,
		onClick: () => e.focus.value = t,
		children: [/* @__PURE__ */ U(Tr, {
			store: e,
			i: t,
			size: 32
		}), /* @__PURE__ */ U("span", { children: [/* @__PURE__ */ U("b", { children: n }), /* @__PURE__ */ U("small", {
			dir: "auto",
			children: e.table.id(t)
		})] })]
	});
}
function xi({ store: e }) {
	let { agreement: t } = e.meta, n = e.shown.value;
	return t ? /* @__PURE__ */ U("div", {
		class: "mm-col",
		tabIndex: 0,
		role: "region",
		"aria-label": "Panel",
		children: [
			/* @__PURE__ */ U("h2", { children: `Top ${vi} by each measure` }),
			/* @__PURE__ */ U("div", {
				class: "mm-rank-grid",
				children: t.measures.map((t) => /* @__PURE__ */ U("div", { children: [/* @__PURE__ */ U("h3", {
					title: e.table.about(t).words,
					children: yi(t)
				}), Array.from(e.orderBy(t, !0).filter((e) => n[e]).slice(0, vi), (n) => /* @__PURE__ */ U(bi, {
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
					children: yi(e)
				}, e))] }) }), /* @__PURE__ */ U("tbody", { children: t.measures.map((e, n) => /* @__PURE__ */ U("tr", { children: [/* @__PURE__ */ U("th", {
					scope: "row",
					children: yi(e)
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
			t.disagreements.length > 0 && /* @__PURE__ */ U(Si, {
				store: e,
				agreement: t
			})
		]
	}) : null;
}
function Si({ store: e, agreement: t }) {
	let [n, r] = De(0), { measures: i, disagreements: a } = t, { pair: o, first: s, second: c } = a[n], [l, u] = o.map((e) => yi(i[e])), d = e.shown.value, f = [[`higher by ${l}`, s], [`higher by ${u}`, c]];
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
					children: `${yi(i[e])} against ${yi(i[t])}`
				}, n))
			}),
			/* @__PURE__ */ U("div", {
				class: "mm-rank-grid",
				children: f.map(([t, n]) => /* @__PURE__ */ U("div", { children: [/* @__PURE__ */ U("h3", { children: t }), n.filter(([e]) => d[e]).slice(0, vi).map(([t, n, r]) => /* @__PURE__ */ U(bi, {
					store: e,
					i: t,
					words: `${Ci(n)} · ${Ci(r)}`
				}, t))] }, t))
			}),
			/* @__PURE__ */ U("p", {
				class: "mm-note",
				children: `Ranks by ${l} · by ${u}, 1 the largest. Listed are those whose ranks differ by the largest factor.`
			})
		]
	});
}
var Ci = (e) => R(Math.round(e));
function wi({ store: e }) {
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
				children: Array.from(i, (r) => /* @__PURE__ */ U(bi, {
					store: e,
					i: r,
					words: `${L(t.sensitivity[r])} → ${L(n.sensitivity[r])}`
				}, r))
			})
		]
	});
}
function Ti({ store: e }) {
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
var Ei = 650, Di = [
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
function Oi({ store: e }) {
	let { steps: t } = e.meta, n = t.length - 1;
	ji(e, n);
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
					/* @__PURE__ */ U(Mi, { store: e }),
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
							children: Ai(t, n) && e.name.slice(0, 24)
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
					Di.filter(({ name: e }) => i[e] !== null).map(({ name: e, words: t, hint: n, style: r }) => /* @__PURE__ */ U("span", {
						class: r,
						title: n,
						children: `${t} ${L(i[e])}${ki(e, i)}`
					}, e)),
					i.effective !== null && /* @__PURE__ */ U("span", {
						title: "effective number of parameters: sum of the leverages",
						children: `effective parameters ${L(i.effective)}`
					}),
					r < n && /* @__PURE__ */ U("span", {
						title: "leverage and error are recorded at every step, predictions and losses of an example at the last one only",
						children: `predictions: ${t[n].name.slice(0, 24)}`
					})
				]
			})
		]
	});
}
var ki = (e, { loo_trust: t }) => e === "loo_loss" && (t === "ranks only" || t === "not to be used") ? ` (${t})` : "", Ai = (e, t) => {
	let n = Math.ceil((t + 1) / 8);
	return e === t || e % n === 0 && t - e >= n;
};
function ji(e, t) {
	let n = e.playing.value;
	ke(() => {
		if (!n) return;
		e.time.peek() >= t && (e.time.value = 0);
		let [r, i] = [0, performance.now()], a = (n) => {
			e.time.value = Math.min(t, e.time.peek() + (n - i) / Ei), i = n, e.time.peek() >= t ? e.playing.value = !1 : r = requestAnimationFrame(a);
		};
		return r = requestAnimationFrame(a), () => cancelAnimationFrame(r);
	}, [n]);
}
function Mi({ store: e }) {
	let { steps: t } = e.meta, [n, r] = [600, 30];
	return /* @__PURE__ */ U(Dr, {
		fluid: !0,
		width: n,
		height: r,
		label: "Mean training, leave-one-out and test loss over the recorded steps, with a line at the one shown",
		draw: (i) => {
			let a = B[e.theme.value], o = t.flatMap((e) => Di.map(({ name: t }) => e[t])).filter((e) => e !== null), [s, c] = [Math.min(...o), Math.max(...o)], l = (e) => r - 3 - (e - s) / (c - s || 1) * (r - 6), u = (e) => 8 + e / (t.length - 1) * (n - 16), d = (e, n, r) => {
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
function Ni({ store: e, picture: t }) {
	return /* @__PURE__ */ U("div", {
		class: "mm-tools",
		children: [
			/* @__PURE__ */ U(wr, {
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
			/* @__PURE__ */ U(wr, {
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
						Sn(e).map((e) => /* @__PURE__ */ U("option", {
							value: e,
							children: bn[e]
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
			e.models.length > 1 && /* @__PURE__ */ U(wr, {
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
			/* @__PURE__ */ U(Pi, { store: e })
		]
	});
}
function Pi({ store: e }) {
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
	if (!r && xn(n)) return /* @__PURE__ */ U(Ii, {
		store: e,
		name: n
	});
	let { kind: i, names: a } = e.table.about(n);
	return !r && i === "class" ? /* @__PURE__ */ U("span", {
		class: "mm-legend",
		children: [a.slice(0, 10).map((t, n) => /* @__PURE__ */ U("span", {
			dir: "auto",
			children: [/* @__PURE__ */ U("i", { style: `background:${qt(e.theme.value, n)}` }), t.slice(0, 14)]
		}, n)), a.length > 10 && "…"]
	}) : /* @__PURE__ */ U(Fi, {
		lut: r ? t.density : t.ramp,
		ends: r ? ["few", "many examples"] : [`${e.heading(n)} ${L(e.shade(n).low)}`, L(e.shade(n).high)]
	});
}
function Fi({ lut: e, ends: t, title: n }) {
	return /* @__PURE__ */ U("span", {
		class: "mm-legend",
		title: n,
		children: [
			t[0],
			" ",
			/* @__PURE__ */ U(Dr, {
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
function Ii({ store: e, name: t }) {
	let n = L(10 ** Tn(e, t, e.time.value));
	return /* @__PURE__ */ U(Fi, {
		lut: B[e.theme.value].diverging,
		ends: [`÷ ${n}`, `× ${n}`],
		title: `${bn[t]}; grey: unchanged`
	});
}
// src/panels/app.tsx
function Li({ store: e, views: t }) {
	let n = Ae(null), r = Ae(null), i = (e) => {
		let r = e.target;
		if (/^(INPUT|SELECT|TEXTAREA)$/.test(r.tagName)) e.key === "Escape" && r.blur();
		else {
			if (e.key === "/") n.current?.focus();
			else if (r.tagName === "BUTTON" && (e.key === "Enter" || e.key === " ")) return;
			else if (!t[0] || !Ut(t[0], e)) return;
			e.preventDefault();
		}
	};
	return ke(() => {
		let t = e.source.permalinks ? document : r.current;
		return t.addEventListener("keydown", i), () => t.removeEventListener("keydown", i);
	}, []), /* @__PURE__ */ U("div", {
		class: `mm ${e.theme.value}`,
		ref: r,
		tabIndex: -1,
		children: [
			/* @__PURE__ */ U(Ri, {
				store: e,
				field: n
			}),
			/* @__PURE__ */ U(si, { store: e }),
			/* @__PURE__ */ U("main", { children: [/* @__PURE__ */ U("section", {
				class: "mm-left",
				"aria-label": "Memory map",
				children: [
					/* @__PURE__ */ U(Ni, {
						store: e,
						picture: (n) => void Ui(e, t, n)
					}),
					/* @__PURE__ */ U("div", {
						class: "mm-maps",
						children: [/* @__PURE__ */ U(Bi, {
							store: e,
							k: 0,
							views: t
						}), e.compare.value === "side" && /* @__PURE__ */ U(Bi, {
							store: e,
							k: 1,
							views: t
						})]
					}),
					e.trajectory && /* @__PURE__ */ U(Oi, { store: e })
				]
			}), /* @__PURE__ */ U(Hi, { store: e })] }),
			/* @__PURE__ */ U("div", {
				class: "mm-said",
				role: "status",
				"aria-live": "polite",
				children: e.said.value
			})
		]
	});
}
function Ri({ store: e, field: t }) {
	let n = Ae(0), r = (t) => {
		clearTimeout(n.current), n.current = window.setTimeout(() => void e.seek(t), e.n > 5e4 ? 250 : 80);
	}, i = e.theme.value === "dark";
	return /* @__PURE__ */ U("header", { children: [
		/* @__PURE__ */ U("h1", {
			dir: "auto",
			children: e.meta.title
		}),
		e.source.maps && e.source.maps.names.length > 1 && /* @__PURE__ */ U(zi, { maps: e.source.maps }),
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
function zi({ maps: e }) {
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
function Bi({ store: e, k: t, views: n }) {
	let r = Ae(null), [i, a] = De(null);
	return ke(() => {
		let i = new or(e, t), o = Rt(i);
		return r.current.prepend(i.root), n[t] = i, a(i), () => {
			o(), i.destroy(), i.root.remove();
		};
	}, []), /* @__PURE__ */ U("div", {
		class: "mm-pane",
		ref: r,
		tabIndex: 0,
		role: "group",
		"aria-label": `Map of ${e.n} examples: leverage across, prediction error up. Arrow keys move through the examples in the table's order.`,
		children: /* @__PURE__ */ U(kr, {
			store: e,
			view: i
		})
	});
}
var Vi = (e) => e.meta.classification ? "Classes" : "Groups";
function Hi({ store: e }) {
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
			Vi(e),
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
			n === "examples" && /* @__PURE__ */ U(Wr, { store: e }),
			n === "curve" && /* @__PURE__ */ U(Br, { store: e }),
			n === "rankings" && /* @__PURE__ */ U(xi, { store: e }),
			n === "groups" && /* @__PURE__ */ U(fi, { store: e }),
			n === "movers" && /* @__PURE__ */ U(wi, { store: e }),
			n === "about" && /* @__PURE__ */ U(Ti, { store: e })
		]
	});
}
async function Ui(e, t, n) {
	let r = t.slice(0, e.compare.peek() === "side" ? 2 : 1);
	if (!r.length) return;
	let i = n === "png" ? await nn(r) : new Blob([rn(r)], { type: "image/svg+xml" });
	i && yr(`map.${n}`, i);
}
// src/state/link.ts
var Wi = 2e3;
function Gi(e) {
	let t = e.selection.value, n = {
		log: e.log.value,
		color: e.color.value,
		marks: e.marks.value,
		filters: { ...e.filters.value },
		frame: e.frame.value,
		top: e.top.value,
		theme: e.theme.value === Kt() ? null : e.theme.value,
		selection: t.length <= Wi ? [...t] : null,
		focus: e.focus.value,
		time: e.time.value,
		compare: e.compare.value,
		tab: e.tab.value,
		sort: e.sort.value
	};
	return `#${encodeURIComponent(JSON.stringify(n))}`;
}
function Ki(e, t) {
	if (!(t.length < 2)) try {
		qi(e, JSON.parse(decodeURIComponent(t.slice(1))));
	} catch {
		e.said.value = "the link could not be read: showing the whole map";
	}
}
function qi(e, t) {
	let n = (t) => Number.isInteger(t) && t >= 0 && t < e.n, r = (t) => typeof t == "string" && e.table.has(t);
	Array.isArray(t.log) && (e.log.value = [!!t.log[0], !!t.log[1]]);
	let i = xn(t.color) && Sn(e).includes(t.color);
	(r(t.color) || t.color === "correct" || i) && (e.color.value = t.color), (t.marks === "density" || t.marks === "points") && (e.marks.value = t.marks), r(t.sort?.key) && (e.sort.value = {
		key: t.sort.key,
		down: !!t.sort.down
	});
	let a = {
		...ei,
		...t.filters
	};
	e.filters.value = {
		...a,
		classes: a.classes.filter(Number.isInteger)
	}, a.search && e.seek(String(a.search)), t.frame?.length === 4 && t.frame.every(Number.isFinite) && (e.frame.value = t.frame), Number.isInteger(t.top) && t.top > 0 && t.top <= e.n && (e.top.value = t.top), (t.theme === "light" || t.theme === "dark") && (e.theme.value = t.theme), t.selection?.length && e.select(t.selection.filter(n), "by the link"), t.time >= 0 && t.time <= e.meta.steps.length - 1 && (e.time.value = t.time), e.models.length > 1 && (t.compare === "side" || t.compare === "arrows") && (e.compare.value = t.compare), n(t.focus) && (e.focus.value = t.focus);
}
function Ji(e) {
	Ki(e, location.hash);
	let [t, n] = [0, location.hash], r = (e) => {
		location.hash === n && (history.replaceState(null, "", e), n = location.hash);
	}, i = () => location.reload();
	addEventListener("hashchange", i);
	let a = st(() => {
		let n = Gi(e);
		clearTimeout(t), t = window.setTimeout(r, 250, n);
	});
	return () => {
		a(), clearTimeout(t), removeEventListener("hashchange", i);
	};
}
// src/data/sheets.ts
var Yi = 32, Xi = class {
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
		return this.kept.delete(e), this.kept.set(e, t), this.kept.size > Yi && this.forget(), t;
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
}, Zi = Uint8Array.of(65, 82, 82, 79, 87, 49), Qi = {
	V1: 0,
	V2: 1,
	V3: 2,
	V4: 3,
	V5: 4
}, $i = {
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
}, ea = {
	HALF: 0,
	SINGLE: 1,
	DOUBLE: 2
}, ta = {
	DAY: 0,
	MILLISECOND: 1
}, G = {
	SECOND: 0,
	MILLISECOND: 1,
	MICROSECOND: 2,
	NANOSECOND: 3
}, na = {
	YEAR_MONTH: 0,
	DAY_TIME: 1,
	MONTH_DAY_NANO: 2
}, ra = {
	Sparse: 0,
	Dense: 1
}, ia = {
	LZ4_FRAME: 0,
	ZSTD: 1
}, aa = { BUFFER: 0 }, oa = Uint8Array, sa = Uint16Array, ca = Uint32Array, la = BigUint64Array, ua = Int8Array, da = Int16Array, K = Int32Array, q = BigInt64Array, fa = Float32Array, pa = Float64Array;
function ma(e) {
	return Object.prototype.toString.call(e);
}
function ha(e) {
	return ma(e) === "[object ArrayBuffer]" || ma(e) === "[object SharedArrayBuffer]";
}
function ga(e) {
	return ma(e) === "[object Uint8Array]";
}
function _a(e, t) {
	let n = Math.log2(e) - 3;
	return (t ? [
		ua,
		da,
		K,
		q
	] : [
		oa,
		sa,
		ca,
		la
	])[n];
}
function va(e, t) {
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
function ya(e, t, n) {
	if (t(e)) return e;
	throw Error(n(e));
}
function J(e, t, n) {
	return t = Array.isArray(t) ? t : Object.values(t), ya(e, (e) => t.includes(e), n ?? (() => `${e} must be one of ${t}`));
}
function ba(e, t) {
	for (let [n, r] of Object.entries(e)) if (r === t) return n;
	return "<Unknown>";
}
// node_modules/@uwdata/flechette/src/data-types.js
var xa = (e) => `Unsupported data type: "${ba(W, e)}" (id ${e})`, Sa = (e, t, n = !0, r = null) => ({
	name: e,
	type: t,
	nullable: n,
	metadata: r
});
function Ca(e) {
	return Object.hasOwn(e, "name") && wa(e.type);
}
function wa(e) {
	return typeof e?.typeId == "number";
}
function Ta(e, t = "", n = !0) {
	return Ca(e) ? e : Sa(t, ya(e, wa, () => "Data type expected."), n);
}
var Ea = (e, t, n = !1, r = -1) => ({
	typeId: W.Dictionary,
	id: r,
	dictionary: e,
	indices: t || Oa(),
	ordered: n
}), Da = (e = 32, t = !0) => ({
	typeId: W.Int,
	bitWidth: J(e, [
		8,
		16,
		32,
		64
	]),
	signed: t,
	values: _a(e, t)
}), Oa = () => Da(32), ka = (e = 2) => ({
	typeId: W.Float,
	precision: J(e, ea),
	values: [
		sa,
		fa,
		pa
	][e]
}), Aa = () => ({
	typeId: W.Binary,
	offsets: K
}), ja = () => ({
	typeId: W.Utf8,
	offsets: K
}), Ma = (e, t, n = 128) => ({
	typeId: W.Decimal,
	precision: e,
	scale: t,
	bitWidth: J(n, [
		32,
		64,
		128,
		256
	]),
	values: n === 32 ? K : la
}), Na = (e) => ({
	typeId: W.Date,
	unit: J(e, ta),
	values: e === ta.DAY ? K : q
}), Pa = (e = G.MILLISECOND) => {
	e = J(e, G);
	let t = e === G.SECOND || e === G.MILLISECOND ? 32 : 64;
	return {
		typeId: W.Time,
		unit: e,
		bitWidth: t,
		values: t === 32 ? K : q
	};
}, Fa = (e = G.MILLISECOND, t = null) => ({
	typeId: W.Timestamp,
	unit: J(e, G),
	timezone: t,
	values: q
}), Ia = (e = na.MONTH_DAY_NANO) => ({
	typeId: W.Interval,
	unit: J(e, na),
	values: e === na.MONTH_DAY_NANO ? void 0 : K
}), La = (e) => ({
	typeId: W.List,
	children: [Ta(e)],
	offsets: K
}), Ra = (e) => ({
	typeId: W.Struct,
	children: Array.isArray(e) && e.length > 0 && Ca(e[0]) ? e : Object.entries(e).map(([e, t]) => Sa(e, t))
}), za = (e, t, n, r) => (n ??= t.map((e, t) => t), {
	typeId: W.Union,
	mode: J(e, ra),
	typeIds: n,
	typeMap: n.reduce((e, t, n) => (e[t] = n, e), {}),
	children: t.map((e, t) => Ta(e, `_${t}`)),
	typeIdForValue: r,
	offsets: K
}), Ba = (e) => ({
	typeId: W.FixedSizeBinary,
	stride: e
}), Va = (e, t) => ({
	typeId: W.FixedSizeList,
	stride: t,
	children: [Ta(e)]
}), Ha = (e, t) => ({
	typeId: W.Map,
	keysSorted: e,
	children: [t],
	offsets: K
}), Ua = (e = G.MILLISECOND) => ({
	typeId: W.Duration,
	unit: J(e, G),
	values: q
}), Wa = () => ({
	typeId: W.LargeBinary,
	offsets: q
}), Ga = () => ({
	typeId: W.LargeUtf8,
	offsets: q
}), Ka = (e) => ({
	typeId: W.LargeList,
	children: [Ta(e)],
	offsets: q
}), qa = (e, t) => ({
	typeId: W.RunEndEncoded,
	children: [ya(Ta(e, "run_ends"), (e) => e.type.typeId === W.Int, () => "Run-ends must have an integer type."), Ta(t, "values")]
}), Ja = (e) => ({
	typeId: W.ListView,
	children: [Ta(e, "value")],
	offsets: K
}), Ya = (e) => ({
	typeId: W.LargeListView,
	children: [Ta(e, "value")],
	offsets: q
}), Xa = new pa(2).buffer;
new q(Xa), new ca(Xa), new K(Xa), new oa(Xa);
function Za(e) {
	if (e > 2 ** 53 - 1 || e < -(2 ** 53 - 1)) throw Error(`BigInt exceeds integer number representation: ${e}`);
	return Number(e);
}
function Qa(e, t) {
	return Number(e / t) + Number(e % t) / Number(t);
}
var $a = (e) => BigInt.asUintN(64, e);
function eo(e, t) {
	return BigInt.asIntN(64, e[t]);
}
function to(e, t) {
	let n = t << 1, r;
	return BigInt.asIntN(64, e[n + 1]) < 0 ? (r = $a(~e[n]) | $a(~e[n + 1]) << 64n, r = -(r + 1n)) : r = e[n] | e[n + 1] << 64n, r;
}
function no(e, t) {
	let n = t << 2, r;
	return BigInt.asIntN(64, e[n + 3]) < 0 ? (r = $a(~e[n]) | $a(~e[n + 1]) << 64n | $a(~e[n + 2]) << 128n | $a(~e[n + 3]) << 192n, r = -(r + 1n)) : r = e[n] | e[n + 1] << 64n | e[n + 2] << 128n | e[n + 3] << 192n, r;
}
// node_modules/@uwdata/flechette/src/util/strings.js
var ro = new TextDecoder("utf-8");
new TextEncoder();
function io(e) {
	return ro.decode(e);
}
function ao(e, t) {
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
function oo(e, t) {
	return t;
}
function so(e, t) {
	return !!co(e, t);
}
function co(e, t) {
	return lo(e, t) << 24 >> 24;
}
function lo(e, t) {
	return e[t];
}
function X(e, t) {
	return uo(e, t) << 16 >> 16;
}
function uo(e, t) {
	return e[t] | e[t + 1] << 8;
}
function Z(e, t) {
	return e[t] | e[t + 1] << 8 | e[t + 2] << 16 | e[t + 3] << 24;
}
function fo(e, t) {
	return Z(e, t) >>> 0;
}
function Q(e, t) {
	return Za(BigInt.asIntN(64, BigInt(fo(e, t)) + (BigInt(fo(e, t + 4)) << 32n)));
}
function po(e, t) {
	let n = t + Z(e, t), r = Z(e, n);
	return n += 4, io(e.subarray(n, n + r));
}
function mo(e, t, n, r) {
	if (!t) return [];
	let i = t + Z(e, t);
	return Array.from({ length: Z(e, i) }, (t, a) => r(e, i + 4 + a * n));
}
// node_modules/@uwdata/flechette/src/util/struct.js
var ho = Symbol("rowIndex");
function go(e, t) {
	class n {
		constructor(e) {
			this[ho] = e;
		}
		toJSON() {
			return vo(e, t, this[ho]);
		}
	}
	let r = n.prototype;
	for (let n = 0; n < e.length; ++n) {
		if (Object.hasOwn(r, e[n])) continue;
		let i = t[n];
		Object.defineProperty(r, e[n], {
			get() {
				return i.at(this[ho]);
			},
			enumerable: !0
		});
	}
	return (e) => new n(e);
}
function _o(e, t) {
	return (n) => vo(e, t, n);
}
function vo(e, t, n) {
	let r = {};
	for (let i = 0; i < e.length; ++i) r[e[i]] = t[i].at(n);
	return r;
}
// node_modules/@uwdata/flechette/src/batch.js
function yo(e) {
	return e instanceof xo;
}
var bo = class {
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
		return ao(this.validity, e);
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
}, xo = class extends bo {
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
}, So = class extends bo {
	static ArrayType = pa;
}, $ = class extends bo {
	static ArrayType = Array;
}, Co = class extends $ {
	value(e) {
		return null;
	}
}, wo = class extends So {
	value(e) {
		return Za(this.values[e]);
	}
}, To = class extends So {
	value(e) {
		let t = this.values[e], n = (t & 31744) >> 10, r = (t & 1023) / 1024, i = (-1) ** ((t & 32768) >> 15);
		switch (n) {
			case 31: return i * (r ? NaN : 1 / 0);
			case 0: return i * (r ? 6103515625e-14 * r : 0);
		}
		return i * 2 ** (n - 15) * (1 + r);
	}
}, Eo = class extends $ {
	value(e) {
		return ao(this.values, e);
	}
}, Do = class extends So {
	constructor(e) {
		super(e);
		let { scale: t } = this.type;
		this.scale = 10 ** t;
	}
	value(e) {
		return this.values[e] / this.scale;
	}
}, Oo = class extends bo {
	constructor(e) {
		super(e);
		let { bitWidth: t, scale: n } = this.type;
		this.decimal = t === 64 ? eo : t === 128 ? to : no, this.scale = 10n ** BigInt(n);
	}
}, ko = class extends Oo {
	static ArrayType = pa;
	value(e) {
		return Qa(this.decimal(this.values, e), this.scale);
	}
}, Ao = class extends Oo {
	static ArrayType = Array;
	value(e) {
		return this.decimal(this.values, e);
	}
}, jo = class extends $ {
	constructor(e) {
		super(e), this.source = e;
	}
	value(e) {
		return new Date(this.source.value(e));
	}
}, Mo = class extends So {
	value(e) {
		return 864e5 * this.values[e];
	}
}, No = wo, Po = class extends wo {
	value(e) {
		return super.value(e) * 1e3;
	}
}, Fo = wo, Io = class extends wo {
	value(e) {
		return Qa(this.values[e], 1000n);
	}
}, Lo = class extends wo {
	value(e) {
		return Qa(this.values[e], 1000000n);
	}
}, Ro = class extends $ {
	value(e) {
		return this.values.subarray(e << 1, e + 1 << 1);
	}
}, zo = class extends $ {
	value(e) {
		let t = this.values, n = e << 4;
		return Float64Array.of(Z(t, n), Z(t, n + 4), Q(t, n + 8));
	}
}, Bo = ({ values: e, offsets: t }, n) => e.subarray(t[n], t[n + 1]), Vo = ({ values: e, offsets: t }, n) => e.subarray(Za(t[n]), Za(t[n + 1])), Ho = class extends $ {
	value(e) {
		return Bo(this, e);
	}
}, Uo = class extends $ {
	value(e) {
		return Vo(this, e);
	}
}, Wo = class extends $ {
	value(e) {
		return io(Bo(this, e));
	}
}, Go = class extends $ {
	value(e) {
		return io(Vo(this, e));
	}
}, Ko = class extends $ {
	value(e) {
		let t = this.offsets;
		return this.children[0].slice(t[e], t[e + 1]);
	}
}, qo = class extends $ {
	value(e) {
		let t = this.offsets;
		return this.children[0].slice(Za(t[e]), Za(t[e + 1]));
	}
}, Jo = class extends $ {
	value(e) {
		let t = this.offsets[e], n = t + this.sizes[e];
		return this.children[0].slice(t, n);
	}
}, Yo = class extends $ {
	value(e) {
		let t = this.offsets[e], n = t + this.sizes[e];
		return this.children[0].slice(Za(t), Za(n));
	}
}, Xo = class extends $ {
	constructor(e) {
		super(e), this.stride = this.type.stride;
	}
}, Zo = class extends Xo {
	value(e) {
		let { stride: t, values: n } = this;
		return n.subarray(e * t, (e + 1) * t);
	}
}, Qo = class extends Xo {
	value(e) {
		let { children: t, stride: n } = this;
		return t[0].slice(e * n, (e + 1) * n);
	}
};
function $o({ children: e, offsets: t }, n) {
	let [r, i] = e[0].children, a = t[n], o = t[n + 1], s = [];
	for (let e = a; e < o; ++e) s.push([r.at(e), i.at(e)]);
	return s;
}
var es = class extends $ {
	value(e) {
		return $o(this, e);
	}
}, ts = class extends $ {
	value(e) {
		return new Map($o(this, e));
	}
}, ns = class extends $ {
	constructor({ typeIds: e, ...t }) {
		super(t), this.typeIds = e, this.typeMap = this.type.typeMap;
	}
	value(e, t = e) {
		let { typeIds: n, children: r, typeMap: i } = this;
		return r[i[n[e]]].at(t);
	}
}, rs = class extends ns {
	value(e) {
		return super.value(e, this.offsets[e]);
	}
}, is = class extends $ {
	constructor(e, t = _o) {
		super(e), this.names = this.type.children.map((e) => e.name), this.factory = t(this.names, this.children);
	}
	value(e) {
		return this.factory(e);
	}
}, as = class extends is {
	constructor(e) {
		super(e, go);
	}
}, os = class extends $ {
	value(e) {
		let [{ values: t }, n] = this.children;
		return n.at(va(t, e));
	}
}, ss = class extends $ {
	setDictionary(e) {
		return this.dictionary = e, this.cache = e.cache(), this;
	}
	value(e) {
		return this.cache[this.key(e)];
	}
	key(e) {
		return this.values[e];
	}
}, cs = class extends $ {
	constructor({ data: e, ...t }) {
		super(t), this.data = e;
	}
	view(e) {
		let { values: t, data: n } = this, r = e << 4, i = r + 4, a = t, o = Z(a, r);
		return o > 12 && (i = Z(a, r + 12), a = n[Z(a, r + 8)]), a.subarray(i, i + o);
	}
}, ls = class extends cs {
	value(e) {
		return this.view(e);
	}
}, us = class extends cs {
	value(e) {
		return io(this.view(e));
	}
};
// node_modules/@uwdata/flechette/src/column.js
function ds(e) {
	let t = [];
	return {
		add(e) {
			return t.push(e), this;
		},
		clear: () => t = [],
		done: () => new fs(t, e)
	};
}
var fs = class {
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
		return e.length === 1 ? e[0][Symbol.iterator]() : ps(e);
	}
	at(e) {
		let { data: t, offsets: n } = this, r = va(n, e) - 1;
		return t[r]?.at(e - n[r]);
	}
	get(e) {
		return this.at(e);
	}
	toArray() {
		let { length: e, nullCount: t, data: n } = this, r = !t && yo(n[0]), i = n.length;
		if (r && i === 1) return n[0].values;
		let a = new (!i || t > 0 ? Array : n[0].constructor.ArrayType ?? n[0].values.constructor)(e);
		return r ? ms(a, n) : hs(a, n);
	}
	cache() {
		return this._cache ??= this.toArray();
	}
};
function* ps(e) {
	for (let t = 0; t < e.length; ++t) {
		let n = e[t][Symbol.iterator]();
		for (let e = n.next(); !e.done; e = n.next()) yield e.value;
	}
}
function ms(e, t) {
	for (let n = 0, r = 0; n < t.length; ++n) {
		let { values: i } = t[n];
		e.set(i, r), r += i.length;
	}
	return e;
}
function hs(e, t) {
	let n = -1;
	for (let r = 0; r < t.length; ++r) {
		let i = t[r];
		for (let t = 0; t < i.length; ++t) e[++n] = i.at(t);
	}
	return e;
}
// node_modules/@uwdata/flechette/src/table.js
var gs = class e {
	constructor(e, t, n = !1) {
		let r = e.fields.map((e) => e.name);
		this.schema = e, this.names = r, this.children = t, this.factory = n ? go : _o;
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
			fields: t.map((e, t) => _s(o[e], n[t]))
		}, t.map((e) => r[e]), i === go);
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
		let [{ offsets: i }] = t, a = va(i, e) - 1;
		return n(a)(e - i[a]);
	}
	get(e) {
		return this.at(e);
	}
};
function _s(e, t) {
	return t != null && t !== e.name ? {
		...e,
		name: t
	} : e;
}
// node_modules/@uwdata/flechette/src/batch-type.js
function vs(e, t = {}) {
	let { typeId: n, bitWidth: r, mode: i, precision: a, unit: o } = e, { useBigInt: s, useBigIntTimestamp: c, useDate: l, useDecimalInt: u, useMap: d, useProxy: f } = t;
	switch (n) {
		case W.Null: return Co;
		case W.Bool: return Eo;
		case W.Int:
		case W.Time:
		case W.Duration: return s || r < 64 ? xo : wo;
		case W.Float: return a ? xo : To;
		case W.Date: return ys(o === ta.DAY ? Mo : No, l && jo);
		case W.Timestamp: return c ? xo : ys(o === G.SECOND ? Po : o === G.MILLISECOND ? Fo : o === G.MICROSECOND ? Io : Lo, l && jo);
		case W.Decimal: return r === 32 ? u ? xo : Do : u ? Ao : ko;
		case W.Interval: return o === na.DAY_TIME ? Ro : o === na.YEAR_MONTH ? xo : zo;
		case W.FixedSizeBinary: return Zo;
		case W.Utf8: return Wo;
		case W.LargeUtf8: return Go;
		case W.Binary: return Ho;
		case W.LargeBinary: return Uo;
		case W.BinaryView: return ls;
		case W.Utf8View: return us;
		case W.List: return Ko;
		case W.LargeList: return qo;
		case W.Map: return d ? ts : es;
		case W.ListView: return Jo;
		case W.LargeListView: return Yo;
		case W.FixedSizeList: return Qo;
		case W.Struct: return f ? as : is;
		case W.RunEndEncoded: return os;
		case W.Dictionary: return ss;
		case W.Union: return i ? rs : ns;
	}
	throw Error(xa(n));
}
function ys(e, t) {
	return t ? class extends t {
		constructor(t) {
			super(new e(t));
		}
	} : e;
}
// node_modules/@uwdata/flechette/src/compression.js
var bs = -1, xs = 8;
function Ss(e) {
	return `Missing compression codec "${ba(ia, e)}" (id ${e})`;
}
var Cs = /* @__PURE__ */ new Map();
function ws(e) {
	return e != null && Cs.get(e) || null;
}
function Ts(e, { offset: t, length: n }, r) {
	if (n === 0) return {
		bytes: /* @__PURE__ */ new Uint8Array(),
		offset: 0,
		length: 0
	};
	let i = Q(e, t), a = e.subarray(t + xs, t + n), o = i === bs ? a : r.decode(a, i);
	return {
		bytes: o,
		offset: 0,
		length: o.length
	};
}
// node_modules/@uwdata/flechette/src/decode/block.js
function Es(e, t) {
	return {
		offset: Q(e, t),
		metadataLength: Z(e, t + 8),
		bodyLength: Q(e, t + 16)
	};
}
function Ds(e, t) {
	return mo(e, t, 24, Es);
}
// node_modules/@uwdata/flechette/src/decode/body-compression.js
function Os(e, t) {
	let n = Y(e, t);
	return {
		codec: n(4, co, ia.LZ4_FRAME),
		method: n(6, co, aa.BUFFER)
	};
}
// node_modules/@uwdata/flechette/src/decode/record-batch.js
function ks(e, t, n) {
	let r = Y(e, t), i = n < Qi.V4 ? 8 : 0;
	return {
		length: r(4, Q, 0),
		nodes: mo(e, r(6, oo), 16, (e, t) => ({
			length: Q(e, t),
			nullCount: Q(e, t + 8)
		})),
		regions: mo(e, r(8, oo), 16 + i, (e, t) => ({
			offset: Q(e, t + i),
			length: Q(e, t + i + 8)
		})),
		compression: r(10, Os),
		variadic: mo(e, r(12, oo), 8, Q)
	};
}
// node_modules/@uwdata/flechette/src/decode/dictionary-batch.js
function As(e, t, n) {
	let r = Y(e, t);
	return {
		id: r(4, Q, 0),
		data: r(6, (e, t) => ks(e, t, n)),
		isDelta: r(8, so, !1)
	};
}
// node_modules/@uwdata/flechette/src/decode/data-type.js
function js(e, t, n, r) {
	J(n, W, xa);
	let i = Y(e, t);
	switch (n) {
		case W.Binary: return Aa();
		case W.Utf8: return ja();
		case W.LargeBinary: return Wa();
		case W.LargeUtf8: return Ga();
		case W.List: return La(r[0]);
		case W.ListView: return Ja(r[0]);
		case W.LargeList: return Ka(r[0]);
		case W.LargeListView: return Ya(r[0]);
		case W.Struct: return Ra(r);
		case W.RunEndEncoded: return qa(r[0], r[1]);
		case W.Int: return Da(i(4, Z, 0), i(6, so, !1));
		case W.Float: return ka(i(4, X, ea.HALF));
		case W.Decimal: return Ma(i(4, Z, 0), i(6, Z, 0), i(8, Z, 128));
		case W.Date: return Na(i(4, X, ta.MILLISECOND));
		case W.Time: return Pa(i(4, X, G.MILLISECOND));
		case W.Timestamp: return Fa(i(4, X, G.SECOND), i(6, po));
		case W.Interval: return Ia(i(4, X, na.YEAR_MONTH));
		case W.Duration: return Ua(i(4, X, G.MILLISECOND));
		case W.FixedSizeBinary: return Ba(i(4, Z, 0));
		case W.FixedSizeList: return Va(r[0], i(4, Z, 0));
		case W.Map: return Ha(i(4, so, !1), r[0]);
		case W.Union: return za(i(4, X, ra.Sparse), r, mo(e, i(6, oo), 4, Z));
	}
	return { typeId: n };
}
// node_modules/@uwdata/flechette/src/decode/metadata.js
function Ms(e, t) {
	let n = mo(e, t, 4, (e, t) => {
		let n = Y(e, t);
		return [n(4, po), n(6, po)];
	});
	return n.length ? new Map(n) : null;
}
// node_modules/@uwdata/flechette/src/decode/schema.js
function Ns(e, t, n) {
	let r = Y(e, t);
	return {
		version: n,
		endianness: r(4, X, 0),
		fields: r(6, Ps, []),
		metadata: r(8, Ms)
	};
}
function Ps(e, t) {
	return mo(e, t, 4, Fs);
}
function Fs(e, t) {
	let n = Y(e, t), r = n(8, lo, W.NONE), i = n(10, oo, 0), a = n(12, Ls), o = js(e, i, r, n(14, Is, []));
	return a && (a.dictionary = o, o = a), {
		name: n(4, po),
		type: o,
		nullable: n(6, so, !1),
		metadata: n(16, Ms)
	};
}
function Is(e, t) {
	return mo(e, t, 4, Fs);
}
function Ls(e, t) {
	if (!t) return null;
	let n = Y(e, t);
	return Ea(null, n(6, Rs, Oa()), n(8, so, !1), n(4, Q, 0));
}
function Rs(e, t) {
	return js(e, t, W.Int);
}
// node_modules/@uwdata/flechette/src/decode/message.js
var zs = (e, t) => `Expected to read ${e} metadata bytes, but only read ${t}.`, Bs = (e, t) => `Expected to read ${e} bytes for message body, but only read ${t}.`, Vs = (e) => `Unsupported message type: ${e} (${ba($i, e)})`;
function Hs(e, t) {
	let n = Z(e, t) || 0;
	if (t += 4, n === -1 && (n = Z(e, t) || 0, t += 4), n === 0) return null;
	let r = e.subarray(t, t += n);
	if (r.byteLength < n) throw Error(zs(n, r.byteLength));
	let i = Y(r, 0), a = i(4, X, Qi.V1), o = i(6, lo, $i.NONE), s = i(8, oo, 0), c = i(10, Q, 0), l;
	if (s) {
		let n = o === $i.Schema ? Ns : o === $i.DictionaryBatch ? As : o === $i.RecordBatch ? ks : null;
		if (!n) throw Error(Vs(o));
		if (l = n(r, s, a), c > 0) {
			let n = e.subarray(t, t += c);
			if (n.byteLength < c) throw Error(Bs(c, n.byteLength));
			l.body = n;
		} else o !== $i.Schema && (l.body = /* @__PURE__ */ new Uint8Array());
	}
	return {
		version: a,
		type: o,
		index: t,
		content: l
	};
}
// node_modules/@uwdata/flechette/src/decode/decode-ipc.js
function Us(e) {
	let t = ha(e) ? new Uint8Array(e) : e;
	return ga(t) && Ws(t) ? Ks(t) : Gs(t);
}
function Ws(e) {
	if (!e || e.length < 4) return !1;
	for (let t = 0; t < 6; ++t) if (Zi[t] !== e[t]) return !1;
	return !0;
}
function Gs(e) {
	let t = [e].flat(), n, r = [], i = [], a = [];
	for (let e of t) {
		if (!ga(e)) throw Error("IPC data batch was not a Uint8Array.");
		let t = 0;
		for (;;) {
			let o = Hs(e, t);
			if (o === null) break;
			if (t = o.index, o.content) switch (o.type) {
				case $i.Schema:
					n ||= o.content;
					break;
				case $i.RecordBatch:
					r.push(o.content), a.push(i.length);
					break;
				case $i.DictionaryBatch: i.push(o.content);
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
function Ks(e) {
	let t = e.byteLength - (Zi.length + 4), n = Y(e, t - Z(e, t)), r = n(4, X, Qi.V1), i = n(8, Ds, []), a = n(10, Ds, []), o = a.map((e) => i.filter((t) => t.offset < e.offset).length);
	return {
		schema: n(6, (e, t) => Ns(e, t, r)),
		dictionaries: i.map(({ offset: t }) => Hs(e, t).content),
		records: a.map(({ offset: t }) => Hs(e, t).content),
		dictsBeforeRecord: o,
		metadata: n(12, Ms)
	};
}
// node_modules/@uwdata/flechette/src/decode/table-from-ipc.js
function qs(e, t) {
	return Js(Us(e), t);
}
function Js(e, t = {}) {
	let { schema: n = { fields: [] }, dictionaries: r, records: i, dictsBeforeRecord: a } = e, { version: o, fields: s } = n, c = /* @__PURE__ */ new Map(), l = Xs(t, o, c), u = /* @__PURE__ */ new Map();
	Ys(n, (e) => {
		let t = e.type;
		t.typeId === W.Dictionary && u.set(t.id, t.dictionary);
	});
	let d = (e) => {
		let { id: t, data: n, isDelta: r, body: i } = e, a = u.get(t), o = Qs(a, l({
			...n,
			body: i
		})), s = c.get(t);
		if (s) r ? c.set(t, new fs([...s.data, o], a)) : c.set(t, new fs([o], a));
		else {
			if (r) throw Error("Delta update can not be first dictionary batch.");
			c.set(t, new fs([o], a));
		}
	}, f = s.map((e) => ds(e.type)), p = 0;
	for (let e = 0; e < i.length; e++) {
		let t = a ? a[e] : r.length;
		for (; p < t;) d(r[p++]);
		let n = l(i[e]);
		s.forEach((e, t) => f[t].add(Qs(e.type, n)));
	}
	for (; p < r.length;) d(r[p++]);
	return new gs(n, f.map((e) => e.done()), t.useProxy);
}
function Ys(e, t) {
	e.fields.forEach(function e(n) {
		t(n), n.type.dictionary?.children?.forEach(e), n.type.children?.forEach(e);
	});
}
function Xs(e, t, n) {
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
				let { bytes: t, length: n, offset: r } = Zs(s, i[++l], a);
				return e ? new e(t.buffer, t.byteOffset + r, n / e.BYTES_PER_ELEMENT) : t.subarray(r, r + n);
			},
			variadic: () => o[++u],
			visit(e) {
				return e.map((e) => Qs(e.type, this));
			}
		};
	};
}
function Zs(e, t, n) {
	if (!n) return {
		bytes: e,
		...t
	};
	if (n.method !== aa.BUFFER) throw Error(`Unknown compression method (${n.method})`);
	{
		let r = n.codec, i = ws(r);
		if (!i) throw Error(Ss(r));
		return Ts(e, t, i);
	}
}
function Qs(e, t) {
	let { typeId: n } = e, { options: r, node: i, buffer: a, variadic: o, version: s } = t, c = vs(e, r), l = {
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
		case W.Union: return s < Qi.V5 && a(), new c({
			...l,
			typeIds: a(ua),
			offsets: e.mode === ra.Sparse ? null : a(e.offsets),
			children: t.visit(e.children)
		});
		default: throw Error(xa(n));
	}
}
new Uint16Array(new Uint8Array([1, 0]).buffer)[0];
// src/data/table.ts
var $s = class {
	meta;
	n;
	arrow;
	metas;
	floats = /* @__PURE__ */ new Map();
	constructor(e, t) {
		this.meta = t, this.arrow = qs(e), this.n = t.n, this.metas = new Map(t.columns.map((e) => [e.name, e]));
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
}, ec = class {
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
}, tc = 65533, nc = class {
	steps;
	x;
	y;
	constructor(e) {
		let { steps: t } = e.meta;
		this.steps = t.length, this.x = ic(e, "leverage", 0), this.y = ic(e, "error", 1);
	}
	at(e, t) {
		let [n, r, i] = this.between(e);
		return [rc(this.x[n][t], this.x[r][t], i), rc(this.y[n][t], this.y[r][t], i)];
	}
	fill(e, t, n) {
		let [r, i, a] = this.between(e);
		for (let e = 0; e < t.length; e++) t[e] = rc(this.x[r][e], this.x[i][e], a), n[e] = rc(this.y[r][e], this.y[i][e], a);
	}
	drift(e) {
		let [t, n, r] = this.between(e), { x: i, y: a } = this;
		return i[0].map((e, o) => {
			let s = rc(i[t][o] + a[t][o], i[n][o] + a[n][o], r) - e - a[0][o];
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
}, rc = (e, t, n) => n === 0 ? e : e + (t - e) * n;
function ic(e, t, n) {
	let r = new Uint16Array(e.n);
	return e.meta.steps.map((i, a) => {
		let o = e.differences(`${t}#${a}`), [s, c] = [i.low[n], i.high[n]], l = new Float32Array(e.n);
		for (let t = 0; t < e.n; t++) {
			r[t] += o[t];
			let e = r[t];
			l[t] = e === 0 ? -Infinity : e === 65535 ? NaN : s + (e - 1) / tc * (c - s);
		}
		return l;
	});
}
// src/state/store.ts
var ac = 7e5, oc = class e {
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
	top = F(1);
	last;
	orders = /* @__PURE__ */ new Map();
	log = F([!0, !0]);
	color = F("sensitivity");
	marks = F("points");
	tool = F("pan");
	pins = F(!0);
	compare = F("off");
	tab = F("examples");
	theme = F("light");
	filters = F(ei);
	sought = F(null);
	selection = F(/* @__PURE__ */ new Uint32Array());
	origin = F("");
	region = F([]);
	hover = F(-1);
	focus = F(-1);
	focusClass = F(-1);
	sort = F({
		key: "sensitivity",
		down: !0
	});
	time = F(0);
	playing = F(!1);
	said = F("");
	frame = F(null);
	shown = I(() => ni(this.table, this.drawn, this.filters.value, this.sought.value));
	earlier = I(() => {
		let { trajectory: e } = this, t = this.time.value;
		if (!e || t >= e.steps - 1) return null;
		let [n, r] = [new Float32Array(this.n), new Float32Array(this.n)];
		e.fill(t, n, r);
		let i = [n, r].map((e) => e.map((e) => 10 ** e));
		return {
			leverage: i[0],
			error: i[1],
			scores: new Lt(this.meta.iso, i[0], i[1])
		};
	});
	ranked = I(() => this.earlier.value?.scores.values ?? this.models[0].sensitivity);
	rankedBy = I(() => this.earlier.value ? Pt[this.meta.iso] : "sensitivity");
	rank = I(() => this.earlier.value ? Tt(this.ranked.value) : this.models[0].rank);
	share = I(() => sc(this.ranked.value, this.rank.value));
	count = I(() => this.shown.value.reduce((e, t) => e + t, 0));
	chosen = I(() => {
		let e = new Uint8Array(this.n);
		for (let t of this.selection.value) e[t] = 1;
		return e;
	});
	listed = I(() => {
		let e = this.shown.value, t = this.selection.value.length ? this.chosen.value : null, { key: n, down: r } = this.sort.value;
		return this.orderBy(n, r).filter((n) => e[n] === 1 && (t === null || t[n] === 1));
	});
	constructor(e, t) {
		this.source = e, this.table = t, this.meta = e.meta, this.n = this.meta.n, this.log.value = this.meta.log, this.color.value = this.meta.color, this.marks.value = this.n > ac ? "density" : "points", this.time.value = Math.max(0, this.meta.steps.length - 1), this.models = this.meta.models.map((e, t) => this.model(e, t));
		let [n] = this.models;
		this.last = this.models.map((e) => new Lt(this.meta.iso, e.leverage, e.error)), this.trajectory = this.meta.steps.length > 1 ? new nc(t) : null, this.sheets = this.meta.pictures ? new Xi(e, t.numbers("slot"), this.meta.pictures) : null, this.texts = this.meta.texts ? new ec(e, this.meta.texts.per, this.meta.texts.chunks) : null, this.drawn = Uint8Array.from(n.leverage, (e, t) => Number.isFinite(e) && Number.isFinite(n.error[t]) ? 1 : 0), this.undrawn = this.drawn.reduce((e, t) => e - t, this.n), this.top.value = Math.max(1, Math.round(this.n / 100));
	}
	static async open(t) {
		if (t.meta.version > 4) throw Error(`this page holds data of version ${t.meta.version} and reads up to 4: write it again`);
		return new e(t, new $s(await t.table(), t.meta));
	}
	model(e, t) {
		let n = (e) => this.table.numbers(t ? `${e}@${t}` : e), r = n("sensitivity"), i = Ct(r);
		return {
			name: e,
			leverage: n("leverage"),
			error: n("error"),
			sensitivity: r,
			order: i,
			rank: Tt(r)
		};
	}
	scores(e) {
		return e === 0 && this.earlier.value?.scores || this.last[e];
	}
	numbers(e) {
		let t = this.earlier.value;
		return t && e === "leverage" ? t.leverage : t && e === "error" ? t.error : e === "sensitivity" ? this.ranked.value : this.table.numbers(e);
	}
	heading(e) {
		return e === "sensitivity" ? this.rankedBy.value : e.replaceAll("_", " ");
	}
	moves(e) {
		return this.earlier.value !== null && [
			"leverage",
			"error",
			"sensitivity"
		].includes(e);
	}
	orderBy(e, t) {
		if (this.moves(e)) return this.ordered(e, t);
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
		if (e !== "move") return this.numbers(e);
		let [t, n] = this.models;
		return t.sensitivity.map((e, t) => Math.abs(n.sensitivity[t] - e));
	}
	select(e, t) {
		this.selection.value = Uint32Array.from(e).sort(), this.origin.value = t, this.said.value = e.length ? `${R(e.length)} examples selected, ${t}` : "selection cleared", e.length && (this.tab.value = "examples");
	}
	selectTop(e) {
		let t = this.orderBy("sensitivity", !0).slice(0, e);
		this.select(t, `the ${R(e)} largest by ${this.rankedBy.value}`);
	}
	async seek(e) {
		this.filters.value = {
			...this.filters.peek(),
			search: e
		};
		let t = e && !e.startsWith("=") && this.texts ? await this.texts.all() : null;
		this.filters.peek().search === e && (this.sought.value = ai(this.table, e, t));
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
		return e === "id" ? this.table.id(t) : this.moves(e) ? Mt(this.numbers(e)[t]) : this.table.cell(e, t, Mt);
	}
	describe(e) {
		let t = [
			"target",
			"prediction",
			"leverage",
			"error",
			"sensitivity"
		].map((t) => `${this.heading(t)} ${this.cell(t, e)}`);
		return `Example ${this.table.id(e)}, rank ${R(this.rank.value[e] + 1)} of ${R(this.n)}, ${t.join(", ")}`;
	}
	warningsOf(e) {
		let t = this.table.numbers("warning")[e];
		return Object.entries(this.meta.warnings).flatMap(([e, n]) => t & Number(e) ? [n] : []);
	}
	shade(e) {
		let t = this.numbers(e), n = t.filter((e) => e > 0), [r, i] = [Nt(n, .02), Nt(n, .999)], a = n.length > .9 * t.length && i > 30 * r;
		a || ([r, i] = [Nt(t, .005), Nt(t, .995)]);
		let o = (e) => a ? Math.log(e / r) / Math.log(i / r) : (e - r) / (i - r || 1);
		return {
			codes: Uint8Array.from(t, (e) => 255 * Math.min(1, Math.max(0, o(e)))),
			low: r,
			high: i
		};
	}
};
function sc(e, t) {
	let n = new Float64Array(e.length + 1), r = new Uint32Array(e.length);
	for (let n = 0; n < e.length; n++) r[t[n]] = n;
	r.forEach((t, r) => {
		n[r + 1] = n[r] + (Number.isFinite(e[t]) ? e[t] : 0);
	});
	let i = n[e.length];
	return i > 0 ? n.map((e) => e / i) : n;
}
// src/mount.tsx
async function cc(e, t) {
	let n = await oc.open(t), r = [];
	n.theme.value = Kt(), A(/* @__PURE__ */ U(Li, {
		store: n,
		views: r
	}), e);
	let i = t.permalinks ? Ji(n) : () => {};
	return {
		store: n,
		views: r,
		unmount: () => {
			i(), A(null, e);
		}
	};
}
function lc(e, t) {
	let n = document.createElement("p");
	n.className = "mm-refused", n.textContent = `This map cannot be shown: ${t instanceof Error ? t.message : String(t)}`, e.replaceChildren(n);
}
// src/widget.tsx
var uc = (e) => new Uint8Array(e.buffer, e.byteOffset, e.byteLength).slice();
function dc(e) {
	let t = /* @__PURE__ */ new Map(), n = (e, n) => {
		t.get(e.part)?.(uc(n[0])), t.delete(e.part);
	};
	e.on("msg:custom", n);
	let r = (n) => new Promise((r) => {
		t.set(n, r), e.send({ want: n });
	}), i = JSON.parse(e.get("_meta"));
	return {
		source: {
			meta: i,
			permalinks: !1,
			table: () => xt(uc(e.get("_table"))),
			sheet: async (e) => new Blob([await r(`sheet/${e}`)], { type: i.pictures?.mime }),
			texts: async (e) => St(await r(`texts/${e}`))
		},
		stop: () => e.off("msg:custom", n)
	};
}
async function fc({ model: e, el: t }) {
	let n = document.createElement("div");
	n.className = "mm-host", n.style.height = `${e.get("height")}px`, t.append(n);
	let { source: r, stop: i } = dc(e);
	try {
		let { store: t, unmount: a } = await cc(n, r), o = () => JSON.stringify(e.get("_rows")), s = () => {
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
		return lc(n, e), i;
	}
}
var pc = { render: fc };
export { pc as default };
